//! Works through the records of a topic together with everybody who runs this at the same time; ends with Ctrl-C.
//!
//! `cargo run --example work_queue -p strandline-client -- 127.0.0.1:9092 jobs workers`

use std::time::Duration;

use strandline_client::{Acknowledge, Client};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (address, topic, group) = (next("127.0.0.1:9092"), next("quickstart"), next("workers"));
    let client = Client::builder([address]).client_id("work-queue").connect().await?;

    // Few at a time: whatever this member has nobody else can work on.
    let mut consumer = client.share_consumer(group).topics([topic]).records_max(10).build()?;
    let stopper = consumer.stopper();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopper.stop();
        }
    });

    while let Some(mut batch) = consumer.poll().await? {
        for index in 0..batch.records().len() {
            let one = &batch.records()[index];
            println!("attempt {} at {}: {:?}", one.delivery_count, one.record.offset, one.record.value);
            let what = if one.record.value.is_some() { Acknowledge::Accept } else { Acknowledge::Reject };
            batch.acknowledge(index, what);
        }
    }
    consumer.close(Duration::from_secs(10)).await;
    Ok(())
}

//! Shares a topic with everybody who runs this at the same time; ends with Ctrl-C.
//!
//! `cargo run --example consume_group -p strandline-client -- 127.0.0.1:9092 orders billing`

use std::time::Duration;

use strandline_client::{Client, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (address, topic, group) = (next("127.0.0.1:9092"), next("quickstart"), next("example"));
    let client = Client::builder([address]).client_id("consume-group").connect().await?;

    let consumer = client.consumer(group).topics([topic]).start(Start::Beginning);
    let mut consumer = consumer.on_rebalance(|rebalance| println!("{rebalance:?}")).build().await?;
    let stopper = consumer.stopper();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopper.stop();
        }
    });

    while let Some(batch) = consumer.poll().await? {
        for record in batch.records() {
            println!("{}-{}@{}: {:?}", batch.topic(), record.partition, record.offset, record.value);
        }
        batch.ack();
    }
    consumer.close(Duration::from_secs(10)).await;
    Ok(())
}

//! Copies one topic into another, exactly once: run it as often as you like, and kill it whenever you like.
//!
//! `cargo run --example copy_exactly_once -p strandline-client -- 127.0.0.1:9092 orders copies copier-1`

use strandline_client::{Client, Commit, Isolation, KafkaError, Record, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (address, from, to, id) = (next("127.0.0.1:9092"), next("quickstart"), next("copies"), next("copier-1"));
    let client = Client::builder([address]).client_id(&id).connect().await?;

    // Offsets are committed with the records, so the consumer itself commits none.
    let consumer = client.consumer("copiers").topics([from]).start(Start::Beginning).commit(Commit::Manual);
    let mut consumer = consumer.isolation(Isolation::ReadCommitted).build().await?;
    let mut producer = client.producer().transactional_id(id).build().await?;

    while let Some(batch) = consumer.poll().await? {
        let transaction = producer.begin().await?;
        for record in batch.records() {
            let copy = Record { key: record.key.clone(), value: record.value.clone(), ..Record::to(&to) };
            // One that is lost dooms the transaction: `commit` says so.
            if transaction.enqueue(copy).await.is_err() {
                break;
            }
        }
        let sent = transaction.send_offsets_of(&batch).await;
        match transaction.commit().await {
            Ok(()) => println!("{} records of {}-{}", batch.records().len(), batch.topic(), batch.partition()),
            // Nothing of it is to be seen: the same records come again, here or at the member that has the partition by now.
            Err(error) if error.is_retriable() => {
                println!("again: {error} ({sent:?})");
                batch.rewind();
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        batch.ack();
    }
    Ok(())
}

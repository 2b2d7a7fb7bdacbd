//! Produces one record and reads it back.
//!
//! `cargo run --example quickstart -p strandline-client -- 127.0.0.1:9092`

use strandline_client::{Client, End, NewTopic, Record, Start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let client = Client::builder([address]).client_id("quickstart").connect().await?;

    for (topic, created) in client.admin().create_topics([NewTopic::new("quickstart", 1)]).await? {
        match created {
            Ok(_) => println!("topic {topic} is new"),
            Err(error) => println!("topic {topic}: {error}"),
        }
    }

    let producer = client.producer().build()?;
    let stored = producer.send(Record::to("quickstart").key("hello").value("world")).await?;
    println!("stored {}-{}@{}", stored.topic, stored.partition, stored.offset);

    let mut reader = client.reader("quickstart").from(Start::Offset(stored.offset)).until(End::Now).open().await?;
    while let Some(record) = reader.next().await? {
        let text = |bytes: Option<_>| bytes.map(|bytes: bytes::Bytes| String::from_utf8_lossy(&bytes).into_owned());
        println!("read {}: {:?} = {:?}", record.offset, text(record.key), text(record.value));
    }
    Ok(())
}

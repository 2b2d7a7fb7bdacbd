use strandline_protocol::frame::response_frame;
use strandline_protocol::messages::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::error::{KafkaError, Kind};

fn settings(request_timeout: Duration) -> Arc<ConnectionSettings> {
    Arc::new(ConnectionSettings {
        client_id: "test".into(),
        connect_timeout: Duration::from_secs(5),
        request_timeout,
        response_bytes_max: 1 << 20,
    })
}

/// A connection whose server end is the test itself.
async fn pair(request_timeout: Duration) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let versions = BTreeMap::from([(ApiKey::DescribeCluster as i16, (0, 1)), (ApiKey::Fetch as i16, (90, 91))]);
    let served = Served { versions, ..Served::default() };
    let address = Address { host: "127.0.0.1".into(), port };
    (Connection::start(stream, address, settings(request_timeout), served), server)
}

/// Reads a request; answers with its correlation id.
async fn read_request(server: &mut TcpStream) -> i32 {
    let length = server.read_i32().await.unwrap();
    let mut frame = vec![0; length as usize];
    server.read_exact(&mut frame).await.unwrap();
    i32::from_be_bytes(frame[4..8].try_into().unwrap())
}

async fn write_response(server: &mut TcpStream, correlation: i32, cluster_id: &str) {
    let response = DescribeClusterResponse { cluster_id: cluster_id.into(), ..Default::default() };
    for part in response_frame(1, correlation, &response.into()) {
        server.write_all(&part).await.unwrap();
    }
}

#[tokio::test]
async fn many_requests_are_in_flight_and_each_gets_its_own_answer() {
    let (connection, mut server) = pair(Duration::from_secs(5)).await;
    let first = connection.submit(DescribeClusterRequest::default()).unwrap();
    let second = connection.submit(DescribeClusterRequest::default()).unwrap();
    let (one, two) = (read_request(&mut server).await, read_request(&mut server).await);
    write_response(&mut server, one, "one").await;
    write_response(&mut server, two, "two").await;
    assert_eq!(second.answer().await.unwrap().cluster_id, "two");
    assert_eq!(first.answer().await.unwrap().cluster_id, "one");
}

#[tokio::test]
async fn an_answer_nobody_waits_for_does_not_shift_the_others() {
    let (connection, mut server) = pair(Duration::from_secs(5)).await;
    drop(connection.submit(DescribeClusterRequest::default()).unwrap());
    let second = connection.submit(DescribeClusterRequest::default()).unwrap();
    let (one, two) = (read_request(&mut server).await, read_request(&mut server).await);
    write_response(&mut server, one, "one").await;
    write_response(&mut server, two, "two").await;
    assert_eq!(second.answer().await.unwrap().cluster_id, "two");
}

#[tokio::test]
async fn answers_out_of_order_end_the_connection() {
    let (connection, mut server) = pair(Duration::from_secs(5)).await;
    let first = connection.submit(DescribeClusterRequest::default()).unwrap();
    let correlation = read_request(&mut server).await;
    write_response(&mut server, correlation + 1, "wrong").await;
    assert_eq!(first.answer().await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_the_connection_for_all() {
    let (connection, mut server) = pair(Duration::from_millis(20)).await;
    let late = connection.submit(DescribeClusterRequest::default()).unwrap();
    let behind = connection.submit(DescribeClusterRequest::default()).unwrap();
    read_request(&mut server).await;
    assert_eq!(late.answer().await.unwrap_err().kind(), Kind::TimedOut);
    assert_eq!(behind.answer().await.unwrap_err().kind(), Kind::TimedOut);
    tokio::time::timeout(Duration::from_secs(5), connection.shared.outgoing.closed()).await.unwrap();
    assert!(connection.submit(DescribeClusterRequest::default()).is_err());
}

#[tokio::test]
async fn a_server_that_hangs_up_fails_what_is_in_flight() {
    let (connection, mut server) = pair(Duration::from_secs(5)).await;
    let pending = connection.submit(DescribeClusterRequest::default()).unwrap();
    read_request(&mut server).await;
    drop(server);
    assert_eq!(pending.answer().await.unwrap_err().kind(), Kind::Disconnected);
}

#[tokio::test]
async fn an_api_without_a_common_version_is_not_sent() {
    let (connection, _server) = pair(Duration::from_secs(5)).await;
    assert_eq!(connection.version(ApiKey::DescribeCluster, None).unwrap(), 1);
    assert_eq!(connection.version(ApiKey::DescribeCluster, Some(0)).unwrap(), 0);
    for key in [ApiKey::Fetch, ApiKey::Produce] {
        assert_eq!(connection.version(key, None).unwrap_err().kind(), Kind::Unsupported);
    }
}

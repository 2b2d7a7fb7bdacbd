//! Lanes against a peer that is a few lines long.

use std::sync::mpsc::{Receiver, Sender, channel};

use strandline_node::io::Asker;
use strandline_protocol::api::ApiKey;
use strandline_protocol::frame::response_frame;
use strandline_protocol::header::RequestHeader;
use strandline_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use strandline_protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use strandline_protocol::messages::vote::VoteRequest;
use strandline_protocol::wire::Reader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Keeps what the node would be told.
struct Told(Mutex<Sender<(u64, Result<ApiKey, PeerLost>)>>);

impl Submit for Told {
    fn submit(&self, inputs: &mut Vec<Input>) {
        for input in inputs.drain(..) {
            let Input::Response { tag, result } = input else { panic!("only answers come here") };
            let told = (tag.number, result.map(|response| response.key()));
            self.0.lock().unwrap().send(told).unwrap();
        }
    }
}

struct Scene {
    peers: Arc<Peers>,
    told: Receiver<(u64, Result<ApiKey, PeerLost>)>,
    _node: Arc<dyn Submit>,
}

impl Scene {
    fn new() -> Self {
        let (sender, told) = channel();
        let node: Arc<dyn Submit> = Arc::new(Told(Mutex::new(sender)));
        let peers = Peers::new("node-7".to_owned(), Handle::current());
        peers.connect(Arc::downgrade(&node));
        Self { peers, told, _node: node }
    }

    fn send(&self, port: u16, number: u64, request: impl Into<Request>, timeout_ms: u32) {
        let to = PeerAddress { node: 2, host: "127.0.0.1".into(), port };
        let tag = Tag { asker: Asker::Replication, number };
        self.peers.send(to, Lane::Control, tag, Box::new(request.into()), timeout_ms);
    }

    async fn next(&self) -> (u64, Result<ApiKey, PeerLost>) {
        for _ in 0..1000 {
            if let Ok(told) = self.told.try_recv() {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the node was not told");
    }
}

async fn frame(stream: &mut TcpStream) -> Option<(RequestHeader, ApiKey)> {
    let length = stream.read_i32().await.ok()?;
    let mut body = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(RequestHeader::read(&mut Reader::new(body.into())).unwrap())
}

/// Serves Metadata up to version 9, answers `answers` of them, and is silent then or hangs up.
async fn peer(answers: usize, hangs_up: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut left = answers;
        while let Some((header, key)) = frame(&mut stream).await {
            let response: Response = if key == ApiKey::ApiVersions {
                let metadata = ApiVersion { api_key: ApiKey::Metadata as i16, min_version: 0, max_version: 9 };
                ApiVersionsResponse { api_keys: vec![metadata], ..Default::default() }.into()
            } else {
                assert_eq!((key, header.request_api_version), (ApiKey::Metadata, 9));
                if left == 0 && hangs_up {
                    return;
                }
                if left == 0 {
                    continue;
                }
                left -= 1;
                MetadataResponse::default().into()
            };
            let frame = response_frame(header.request_api_version, header.correlation_id, &response).concat();
            stream.write_all(&frame).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn answers_come_back_in_order_in_the_newest_common_version() {
    let (scene, port) = (Scene::new(), peer(2, false).await);
    scene.send(port, 1, MetadataRequest::default(), 2000);
    scene.send(port, 2, MetadataRequest::default(), 2000);
    assert_eq!(scene.next().await, (1, Ok(ApiKey::Metadata)));
    assert_eq!(scene.next().await, (2, Ok(ApiKey::Metadata)));
}

#[tokio::test]
async fn nobody_there_is_refused() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let scene = Scene::new();
    scene.send(port, 1, MetadataRequest::default(), 2000);
    assert_eq!(scene.next().await, (1, Err(PeerLost::Refused)));
}

#[tokio::test]
async fn silence_is_timed_out_and_what_stands_behind_it_too() {
    let (scene, port) = (Scene::new(), peer(0, false).await);
    scene.send(port, 1, MetadataRequest::default(), 100);
    scene.send(port, 2, MetadataRequest::default(), 60_000);
    assert_eq!(scene.next().await, (1, Err(PeerLost::TimedOut)));
    assert_eq!(scene.next().await, (2, Err(PeerLost::TimedOut)));
}

#[tokio::test]
async fn a_connection_that_breaks_loses_what_was_asked_over_it() {
    let (scene, port) = (Scene::new(), peer(1, true).await);
    scene.send(port, 1, MetadataRequest::default(), 2000);
    scene.send(port, 2, MetadataRequest::default(), 2000);
    assert_eq!(scene.next().await, (1, Ok(ApiKey::Metadata)));
    assert_eq!(scene.next().await, (2, Err(PeerLost::Broken)));
}

#[tokio::test]
async fn what_the_peer_does_not_serve_is_unsupported() {
    let (scene, port) = (Scene::new(), peer(1, false).await);
    scene.send(port, 1, VoteRequest::default(), 2000);
    assert_eq!(scene.next().await, (1, Err(PeerLost::Unsupported)));
    scene.send(port, 2, MetadataRequest::default(), 2000);
    assert_eq!(scene.next().await, (2, Ok(ApiKey::Metadata)));
}

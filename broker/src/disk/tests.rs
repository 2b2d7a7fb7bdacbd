//! What every executor promises, written once and run three times: in the temporary directory, and in memory where the
//! machine has such a file system.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::disk::probe::probe;

struct Bench {
    disk: Arc<Disk>,
    ended: Receiver<Ended>,
    root: PathBuf,
    _runtime: Runtime,
}

impl Bench {
    fn new(base: &Path, executor: Executor, name: &str) -> Self {
        let root = base.join(format!("strandline-disk-{name}-{executor}-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let disk = Disk::open(Roots::new([root.clone()]), executor, 4, runtime.handle().clone(), metrics).unwrap();
        let (told, ended) = channel();
        disk.connect(move |burst| burst.into_iter().for_each(|one| told.send(one).unwrap()));
        runtime.spawn(Arc::clone(&disk).reap());
        Self { disk, ended, root, _runtime: runtime }
    }

    fn run(&self, op: DiskOp) -> Result<DiskDone, DiskError> {
        self.disk.submit([(Owner::Partition(0), op)].into_iter());
        self.next().1
    }

    fn next(&self) -> Ended {
        self.ended.recv_timeout(Duration::from_secs(20)).expect("every operation is answered")
    }

    fn append(&self, position: u64, byte: u8, bytes: usize) {
        let appended = self.run(append(position, byte, bytes)).unwrap();
        assert_eq!(appended, DiskDone::Appended(Bytes::from(vec![byte; bytes])));
    }

    fn contents(&self) -> Vec<u8> {
        std::fs::read(self.root.join(log().as_str())).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn log() -> FilePath {
    FilePath::inside("orders-0", "00000000000000000000.log")
}

fn append(position: u64, byte: u8, bytes: usize) -> DiskOp {
    let body = bytes - 16;
    let halves = [
        Part { prefix: [byte; 16], body: Bytes::from(vec![byte; body / 2]) },
        Part { prefix: [byte; 16], body: Bytes::from(vec![byte; body - body / 2 - 16]) },
    ];
    DiskOp::Append { file: log(), position, parts: halves.to_vec(), durability: Durability::Durable }
}

/// Runs `check` under every executor that works in each directory, and under `buffered` everywhere.
fn under_every_executor(name: &str, check: impl Fn(&Bench)) {
    for base in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        if !base.is_dir() {
            continue;
        }
        let best = probe(&base).executor;
        for executor in Executor::ALL.into_iter().skip_while(|&one| one != best) {
            check(&Bench::new(&base, executor, name));
        }
    }
}

#[test]
fn what_is_appended_is_in_the_file_and_handed_back() {
    under_every_executor("append", |bench| {
        let sizes = [100, 5000, 4096, 66, 1 << 20, 77, 200_000];
        let mut expected = Vec::new();
        for (byte, bytes) in (1_u8..).zip(sizes) {
            bench.append(expected.len() as u64, byte, bytes);
            expected.extend(vec![byte; bytes]);
            let contents = bench.contents();
            assert_eq!(contents[..expected.len()], expected);
            assert!(contents[expected.len()..].iter().all(|&byte| byte == 0), "only zeros behind the end");
        }
    });
}

#[test]
fn a_reopened_file_goes_on_inside_its_partial_block() {
    under_every_executor("reopen", |bench| {
        bench.append(0, 1, 5000);
        bench.disk.trim();
        bench.disk.trim();
        assert_eq!(bench.disk.open_files(), 0);
        bench.append(5000, 2, 100);
        bench.append(5100, 3, 9000);
        let expected = [vec![1; 5000], vec![2; 100], vec![3; 9000]].concat();
        assert_eq!(bench.contents()[..expected.len()], expected);
    });
}

/// Enough small appends that zeros are written ahead of them again and again, with other work in between.
#[test]
fn zeros_written_ahead_never_meet_a_record() {
    under_every_executor("zeros", |bench| {
        let mut expected = Vec::new();
        let sizes = (0..600_usize).map(|n| if n % 50 == 49 { 150_000 } else { 66 + n * 37 % 9000 });
        for (n, bytes) in sizes.enumerate() {
            let byte = (n % 250) as u8 + 1;
            bench.append(expected.len() as u64, byte, bytes);
            expected.extend(vec![byte; bytes]);
            if n % 120 == 119 {
                expected.truncate(expected.len() - bytes / 2);
                let cut = DiskOp::Truncate { file: log(), bytes: expected.len() as u64 };
                assert_eq!(bench.run(cut), Ok(DiskDone::Done));
                assert_eq!(bench.contents(), expected);
            }
        }
        let contents = bench.contents();
        assert!(contents[..expected.len()] == expected);
        assert!(contents[expected.len()..].iter().all(|&byte| byte == 0), "only zeros behind the end");
        assert_eq!(bench.run(DiskOp::Seal { file: log(), bytes: expected.len() as u64 }), Ok(DiskDone::Done));
        assert!(bench.contents() == expected);
    });
}

#[test]
fn a_sealed_file_ends_where_its_log_ends() {
    under_every_executor("seal", |bench| {
        bench.append(0, 1, 5000);
        assert_eq!(bench.run(DiskOp::Seal { file: log(), bytes: 5000 }), Ok(DiskDone::Done));
        assert_eq!(bench.contents(), vec![1; 5000]);
        assert_eq!(bench.disk.open_files(), 0);
        let missing = FilePath::inside("orders-0", "none.log");
        assert_eq!(bench.run(DiskOp::Seal { file: missing.clone(), bytes: 0 }), Ok(DiskDone::Done));
        assert!(!bench.root.join(missing.as_str()).exists());
    });
}

#[test]
fn appending_goes_on_where_a_file_was_truncated() {
    under_every_executor("truncate", |bench| {
        bench.append(0, 1, 9000);
        assert_eq!(bench.run(DiskOp::Truncate { file: log(), bytes: 4500 }), Ok(DiskDone::Done));
        assert_eq!(bench.contents(), vec![1; 4500]);
        bench.append(4500, 2, 700);
        let expected = [vec![1; 4500], vec![2; 700]].concat();
        assert_eq!(bench.contents()[..5200], expected);
        assert!(bench.contents()[5200..].iter().all(|&byte| byte == 0), "nothing of what was cut comes back");
    });
}

#[test]
fn small_files_are_replaced_renamed_and_deleted() {
    under_every_executor("small", |bench| {
        let (first, second) = (FilePath::inside("orders-0", "a.checkpoint"), FilePath::top("b"));
        let write = |contents: &'static str| DiskOp::Write { file: first.clone(), contents: contents.into() };
        assert_eq!(bench.run(write("longer than what follows")), Ok(DiskDone::Done));
        assert_eq!(bench.run(write("short")), Ok(DiskDone::Done));
        let rename = DiskOp::Rename { from: first.clone(), to: second.clone() };
        assert_eq!(bench.run(rename.clone()), Ok(DiskDone::Done));
        assert_eq!(std::fs::read(bench.root.join(second.as_str())).unwrap(), b"short");
        assert_eq!(bench.run(rename), Err(DiskError::Missing { file: first }));
        for _ in 0..2 {
            assert_eq!(bench.run(DiskOp::Delete { file: second.clone() }), Ok(DiskDone::Done));
            let directory = FilePath::top("orders-0");
            assert_eq!(bench.run(DiskOp::DeleteDirectory { directory }), Ok(DiskDone::Done));
        }
        assert_eq!(std::fs::read_dir(&bench.root).unwrap().count(), 0);
    });
}

#[test]
fn a_deleted_directory_can_be_made_again() {
    under_every_executor("again", |bench| {
        bench.append(0, 1, 5000);
        let directory = FilePath::top("orders-0");
        assert_eq!(bench.run(DiskOp::DeleteDirectory { directory }), Ok(DiskDone::Done));
        bench.append(0, 2, 6000);
        assert_eq!(bench.contents()[..6000], vec![2; 6000]);
    });
}

#[test]
fn operations_of_one_owner_are_answered_in_their_order() {
    under_every_executor("order", |bench| {
        let appends = (0..50_u64).map(|n| (Owner::Partition(0), append(n * 300, n as u8, 300)));
        bench.disk.submit(appends);
        for n in 0..50 {
            assert_eq!(bench.next().1, Ok(DiskDone::Appended(Bytes::from(vec![n; 300]))));
        }
    });
}

#[test]
fn many_partitions_write_at_the_same_time_with_few_files_open() {
    under_every_executor("many", |bench| {
        for round in 0..3_u64 {
            bench.disk.submit((0..40).map(|slot| {
                let file = FilePath::inside(&format!("t-{slot}"), "0.log");
                let part = Part { prefix: [slot as u8; 16], body: Bytes::from(vec![slot as u8; 984]) };
                let (position, durability) = (round * 1000, Durability::Written);
                (Owner::Partition(slot), DiskOp::Append { file, position, parts: vec![part], durability })
            }));
            for _ in 0..40 {
                bench.next().1.unwrap();
            }
        }
        bench.disk.trim();
        bench.disk.trim();
        assert_eq!(bench.disk.open_files(), 0);
        for slot in 0..40_u8 {
            let file = FilePath::inside(&format!("t-{slot}"), "0.log");
            assert_eq!(std::fs::read(bench.root.join(file.as_str())).unwrap()[..3000], vec![slot; 3000]);
        }
    });
}

#[test]
fn a_failed_append_is_told_and_the_next_one_opens_the_file_anew() {
    under_every_executor("failed", |bench| {
        let beyond = bench.run(append(5000, 1, 100));
        assert_eq!(beyond, Err(DiskError::Missing { file: log() }));
        bench.append(0, 1, 100);
    });
}

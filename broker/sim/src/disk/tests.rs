use super::*;

fn log() -> FilePath {
    FilePath::inside("a-0", "0.log")
}

fn append(position: u64, bytes: usize, durability: Durability) -> DiskOp {
    let body = Bytes::from(vec![1; bytes - 16]);
    DiskOp::Append { file: log(), position, parts: vec![Part { prefix: [1; 16], body }], durability }
}

fn direct() -> SimDisk {
    SimDisk::new(Access::Direct { allocation_bytes: 8192 }, None)
}

fn write(name: &str, contents: &'static [u8]) -> DiskOp {
    DiskOp::Write { file: FilePath::top(name), contents: Bytes::from_static(contents) }
}

#[test]
fn direct_appends_pad_the_last_block_and_allocate_ahead() {
    let mut disk = direct();
    disk.perform(&append(0, 100, Durability::Durable)).unwrap();
    assert_eq!(disk.contents(&log()).unwrap().len(), 4096 + 8192);
    disk.perform(&append(100, 5000, Durability::Durable)).unwrap();
    let contents = disk.contents(&log()).unwrap();
    assert!(contents[..5100].iter().all(|byte| *byte == 1));
    assert!(contents[5100..].iter().all(|byte| *byte == 0));
    assert!(disk.perform(&append(100, 100, Durability::Durable)).is_err(), "an append goes to the end");
    disk.perform(&DiskOp::Seal { file: log(), bytes: 5100 }).unwrap();
    assert_eq!(disk.contents(&log()).unwrap().len(), 5100);
}

#[test]
fn durable_appends_survive_whatever_is_torn_behind_them() {
    for access in [Access::Direct { allocation_bytes: 8192 }, Access::Buffered] {
        for seed in 0..300 {
            let mut dice = Dice::new(seed);
            let mut disk = SimDisk::new(access, None);
            disk.perform(&append(0, 700, Durability::Durable)).unwrap();
            disk.interrupt(&append(700, 9000, Durability::Durable), &mut dice);
            disk.cut_power(&mut dice);
            let contents = disk.contents(&log()).expect("the name is durable");
            assert!(contents[..700].iter().all(|byte| *byte == 1), "{access:?} seed {seed}");
        }
    }
}

#[test]
fn what_was_only_written_may_be_lost_and_survives_the_death_of_the_process() {
    let mut lost = 0;
    for seed in 0..100 {
        let mut disk = direct();
        disk.perform(&append(0, 700, Durability::Written)).unwrap();
        disk.kill();
        assert_eq!(disk.contents(&log()).unwrap()[699], 1);
        disk.cut_power(&mut Dice::new(seed));
        lost += usize::from(disk.contents(&log()).unwrap_or_default().get(600) != Some(&1));
    }
    assert!((10..100).contains(&lost), "lost {lost} times");
}

#[test]
fn a_synced_append_is_never_lost() {
    for seed in 0..100 {
        let mut disk = direct();
        disk.perform(&append(0, 700, Durability::Written)).unwrap();
        disk.perform(&DiskOp::Sync { file: log() }).unwrap();
        disk.cut_power(&mut Dice::new(seed));
        assert_eq!(disk.contents(&log()).unwrap()[699], 1);
    }
}

#[test]
fn a_small_file_is_old_or_new_and_never_half() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut disk = direct();
        disk.perform(&write("point", b"old")).unwrap();
        disk.interrupt(&write("point", b"new!"), &mut dice);
        disk.cut_power(&mut dice);
        seen.insert(disk.contents(&FilePath::top("point")).map(<[u8]>::to_vec));
    }
    assert_eq!(seen, BTreeSet::from([Some(b"old".to_vec()), Some(b"new!".to_vec())]));
}

#[test]
fn a_later_operation_settles_what_an_interrupted_one_left() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut disk = direct();
        disk.perform(&write("point", b"old")).unwrap();
        disk.interrupt(&write("point", b"new!"), &mut dice);
        let seen = disk.contents(&FilePath::top("point")).unwrap().to_vec();
        disk.perform(&write("other", b"")).unwrap();
        disk.cut_power(&mut dice);
        assert_eq!(disk.contents(&FilePath::top("point")).unwrap(), seen, "seed {seed}");
    }
}

#[test]
fn a_directory_moves_with_what_it_holds_and_lives_on_when_empty() {
    let mut disk = direct();
    disk.perform(&append(0, 100, Durability::Durable)).unwrap();
    let (from, to) = (FilePath::top("a-0"), FilePath::top("b"));
    disk.perform(&DiskOp::Rename { from: from.clone(), to: to.clone() }).unwrap();
    assert!(disk.list(&from).is_err());
    disk.perform(&DiskOp::Delete { file: FilePath::inside("b", "0.log") }).unwrap();
    assert_eq!(disk.list(&to), Ok(Vec::new()));
    disk.perform(&DiskOp::DeleteDirectory { directory: to.clone() }).unwrap();
    assert!(disk.list(&to).is_err());
}

#[test]
fn an_interrupted_rename_of_a_directory_is_old_or_new() {
    for seed in 0..50 {
        let mut dice = Dice::new(seed);
        let mut disk = direct();
        disk.perform(&append(0, 100, Durability::Durable)).unwrap();
        disk.interrupt(&DiskOp::Rename { from: FilePath::top("a-0"), to: FilePath::top("b") }, &mut dice);
        disk.cut_power(&mut dice);
        let places = [FilePath::inside("a-0", "0.log"), FilePath::inside("b", "0.log")];
        assert_eq!(places.iter().filter(|place| disk.contents(place).is_some()).count(), 1, "seed {seed}");
    }
}

use proptest::prelude::*;

use super::*;

fn read_back(path: &Path) -> Result<Vec<String>, JournalError> {
    let mut records = Vec::new();
    recover(path, |record: String| records.push(record)).map(|_| records)
}

#[tokio::test]
async fn what_was_waited_for_is_read_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = Journal::open(&path, |_: String| ()).unwrap();
    let waits: Vec<_> = (0..1000).map(|n| journal.append(&format!("r{n}")).unwrap()).collect();
    for wait in waits {
        wait.wait().await.unwrap();
    }
    let expected: Vec<_> = (0..1000).map(|n| format!("r{n}")).collect();
    assert_eq!(read_back(&path).unwrap(), expected);
}

#[test]
fn a_crash_at_any_byte_of_the_last_record_loses_only_that_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let whole = [line(&"one").unwrap(), line(&"two\u{4e8c}").unwrap()].concat();
    let first = line(&"one").unwrap().len();
    for cut in first..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(read_back(&path).unwrap(), ["one"], "cut at {cut}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), first as u64, "the torn end is gone");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read_back(&path).unwrap(), ["one", "two\u{4e8c}"]);
}

#[test]
fn a_hole_before_whole_lines_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut bytes = [line(&"one").unwrap(), line(&"two").unwrap(), line(&"three").unwrap()].concat();
    let at = line(&"one").unwrap().len();
    bytes[at + 3] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(read_back(&path), Err(JournalError::Damaged { at: found, .. }) if found == at));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "and is left for a person to look at");
}

#[tokio::test]
async fn a_barrier_waits_for_what_was_queued_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = Journal::open(&path, |_: String| ()).unwrap();
    let _unwaited = journal.append(&"before").unwrap();
    journal.barrier().unwrap().wait().await.unwrap();
    assert_eq!(read_back(&path).unwrap(), ["before"]);
}

#[tokio::test]
async fn a_full_disk_ends_the_journal_without_acknowledging() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (jobs, queue) = mpsc::channel(8);
    let journal = Journal { jobs };
    let wait = journal.append(&"lost").unwrap();
    std::thread::spawn(move || write_all(full, queue)).join().unwrap();
    assert!(matches!(wait.wait().await, Err(JournalError::Broken)));
    assert!(matches!(journal.append(&"more"), Err(JournalError::Broken)));
    assert!(!journal.is_open());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_prefix_of_a_journal_is_a_prefix_of_its_records(
        records in proptest::collection::vec(".{0,40}", 0..8), share in 0.0..=1.0f64
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let bytes: Vec<u8> = records.iter().flat_map(|record| line(record).unwrap()).collect();
        let cut = (bytes.len() as f64 * share) as usize;
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let back = read_back(&path).unwrap();
        prop_assert_eq!(&records[..back.len()], &back[..]);
        let kept: usize = back.iter().map(|record| line(record).unwrap().len()).sum();
        prop_assert!(kept <= cut && (back.len() == records.len() || kept + line(&records[back.len()]).unwrap().len() > cut));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = replay_whole(&bytes, |_: String| ());
    }
}

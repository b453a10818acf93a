//! Streams of samples: kept in memory, walked again, or refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::data::{DataOptions, Dataset, SampleStream, StreamBatch, StreamBatches};
use crate::error::{ErrorKind, Result};

/// Batches of 2×2 images in grey, counted from 0 in each walk.
#[derive(Debug, Default)]
struct Counting {
    batches: Vec<usize>,
    repeats: bool,
    /// True if every walk yields other images.
    random: bool,
    walks: AtomicUsize,
}

impl SampleStream for Counting {
    fn walk(&self) -> Result<StreamBatches> {
        let walk = self.walks.fetch_add(1, Ordering::Relaxed);
        let first = if self.random { walk as u8 * 100 } else { 0 };
        let mut next = first;
        let batches = self.batches.clone().into_iter().map(move |count| {
            let labels = (0..count).map(|i| i64::from(next - first) + i as i64).collect();
            let bytes = (0..count).flat_map(|i| [next + i as u8; 4]).collect();
            next += count as u8;
            let array = (String::new(), "|u1".to_owned(), vec![count, 1, 2, 2], bytes);
            Ok(StreamBatch { arrays: vec![array], labels: Some(labels) })
        });
        Ok(Box::new(batches))
    }

    fn repeats(&self) -> bool {
        self.repeats
    }
}

const NETWORK: &[Option<usize>; 4] = &[None, Some(1), Some(2), Some(2)];

fn stream(batches: &[usize], repeats: bool, random: bool) -> Arc<Counting> {
    Arc::new(Counting { batches: batches.to_vec(), repeats, random, ..Counting::default() })
}

fn open(stream: &Arc<Counting>, max_memory: u64, options: &DataOptions) -> Result<Dataset> {
    Dataset::from_stream(Arc::<Counting>::clone(stream), max_memory, options, NETWORK)
}

/// Returns the grey levels and labels of a pass in batches of three.
fn pass(data: &Dataset) -> Result<(Vec<u8>, Vec<u32>)> {
    let (mut levels, mut labels) = (vec![], vec![]);
    for batch in data.batches(3) {
        let batch = batch?;
        levels.extend(batch.data.chunks(4).map(|image| (255.0 * image[0]).round() as u8));
        labels.extend(batch.labels.unwrap_or_default());
    }
    Ok((levels, labels))
}

#[test]
fn samples_in_memory_and_walked_again_are_alike() {
    let options = DataOptions::default();
    for (max_memory, walks) in [(1 << 20, 1), (20, 3)] {
        let source = stream(&[2, 1, 4, 3], true, false);
        let data = open(&source, max_memory, &options).expect("data");
        let expected = ((0..10).collect::<Vec<u8>>(), (0..10).collect::<Vec<u32>>());
        assert_eq!(pass(&data).expect("a pass"), expected, "{max_memory}");
        assert_eq!(pass(&data).expect("a second pass"), expected, "{max_memory}");
        assert_eq!(source.walks.load(Ordering::Relaxed), walks, "{max_memory}");
        let (fit, judge) = data.split(0.2).expect("both parts");
        assert_eq!(pass(&fit).expect("a pass").0, [0, 1, 2, 3, 5, 6, 7, 8]);
        assert_eq!(pass(&judge).expect("a pass").0, [4, 9]);
    }
}

#[test]
fn no_more_is_read_than_asked_for() {
    let options = DataOptions { images: Some(3), ..DataOptions::default() };
    let source = stream(&[2, 2, 100], true, false);
    let data = open(&source, 20, &options).expect("the first three");
    assert_eq!(pass(&data).expect("a pass").0, [0, 1, 2]);
}

#[test]
fn a_stream_that_is_too_large_must_repeat_itself() {
    let options = DataOptions::default();
    let error = open(&stream(&[4, 4], false, false), 20, &options).expect_err("walked once");
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("max_memory"), "{error}");
    assert!(open(&stream(&[4], false, false), 20, &options).is_ok(), "it fits");
    let shuffled = open(&stream(&[4, 4], true, true), 20, &options).expect("data");
    let error = pass(&shuffled).expect_err("other images").to_string();
    assert!(error.contains("walked again") && error.contains("shuffle=False"), "{error}");
    let random = DataOptions { order: Some(1), ..DataOptions::default() };
    assert!(open(&stream(&[4, 4], true, false), 20, &random).is_err(), "no random order");
    assert!(open(&stream(&[4, 4], true, false), 1 << 20, &random).is_ok(), "in memory");
}

#[test]
fn streams_without_samples_or_of_several_kinds_are_refused() {
    #[derive(Debug)]
    struct Given(Vec<StreamBatch>);
    impl SampleStream for Given {
        fn walk(&self) -> Result<StreamBatches> {
            Ok(Box::new(self.0.clone().into_iter().map(Ok)))
        }

        fn repeats(&self) -> bool {
            true
        }
    }
    let batch = |dtype: &str, size: usize, labels: Option<Vec<i64>>| StreamBatch {
        arrays: vec![(String::new(), dtype.to_owned(), vec![1, 1, 2, 2], vec![0; 4 * size])],
        labels,
    };
    let refused = |batches: Vec<StreamBatch>| {
        let opened = Dataset::from_stream(Arc::new(Given(batches)), 99, &DataOptions::default(), NETWORK);
        opened.expect_err("refused").message()
    };
    assert!(refused(vec![]).contains("no samples"));
    let kinds = refused(vec![batch("|u1", 1, None), batch("<f4", 4, None)]);
    assert!(kinds.contains("bytes with 1 channels") && kinds.contains("got floats"), "{kinds}");
    let labels = refused(vec![batch("|u1", 1, Some(vec![1])), batch("|u1", 1, None)]);
    assert!(labels.contains("expected a label") && labels.contains("got no label for sample 1"), "{labels}");
    let labels = refused(vec![batch("|u1", 1, None), batch("|u1", 1, Some(vec![1]))]);
    assert!(labels.contains("expected no label"), "{labels}");
    assert!(refused(vec![batch("|u1", 1, Some(vec![1, 2]))]).contains("expected 1 labels, got 2"));
    assert!(refused(vec![batch("|S4", 4, None)]).contains("unsupported type"));
}

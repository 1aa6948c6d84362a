//! Readers that read together, over a real SQLite file.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gnomon_databases::database_url::DatabaseUrl;
use gnomon_event_store::source::{self, Batch, Frontier, History, KnownEvent, Source};
use gnomon_event_store::{EventStore, ExpectedVersion, NewEvent, StreamId};
use gnomon_model::{Event, category};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;

const TYPES: [&str; 4] = ["Placed", "Paid", "Shipped", "Cancelled"];
const CATEGORIES: [&str; 3] = ["Order", "Invoice", "Customer"];

/// A source whose reads are counted, and can be made to fail.
struct Watched {
    source: Arc<dyn Source>,
    reads: AtomicUsize,
    /// Those that leave nothing out.
    whole: AtomicUsize,
    fails: AtomicBool,
}

#[async_trait]
impl Source for Watched {
    fn start(&self) -> Checkpoint {
        self.source.start()
    }

    fn position(&self, checkpoint: &Checkpoint) -> Result<Position, SourceError> {
        self.source.position(checkpoint)
    }

    fn behind(&self, position: Position) -> Checkpoint {
        self.source.behind(position)
    }

    fn frontier(&self) -> watch::Receiver<Frontier> {
        self.source.frontier()
    }

    async fn look(&self) -> Result<Frontier, SourceError> {
        self.source.look().await
    }

    async fn read(
        &self,
        after: &Checkpoint,
        subscription: &Subscription,
        limits: BatchLimits,
    ) -> Result<Batch, SourceError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let is_whole = subscription.event_types.is_empty() && subscription.categories.is_empty();
        self.whole.fetch_add(is_whole.into(), Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(SourceError::retry("the store is away", "as the test wants"));
        }
        self.source.read(after, subscription, limits).await
    }

    fn history(&self) -> &Arc<History> {
        self.source.history()
    }

    async fn last_event(&self, up_to: Position) -> Result<Option<KnownEvent>, SourceError> {
        self.source.last_event(up_to).await
    }

    async fn recorded_after(&self, position: Position) -> Result<Option<i64>, SourceError> {
        self.source.recorded_after(position).await
    }

    async fn position_at(&self, time: i64) -> Result<Position, SourceError> {
        self.source.position_at(time).await
    }
}

/// An event store with its readers.
struct World {
    store: Arc<dyn EventStore>,
    source: Arc<Watched>,
    scan: Arc<SharedScan>,
    limits: BatchLimits,
    directory: Arc<TempDir>,
}

impl World {
    async fn new(page_events: usize, processors: usize) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::over(directory, page_events, processors).await
    }

    /// Other readers of an event store that is there.
    async fn over(directory: Arc<TempDir>, page_events: usize, processors: usize) -> Self {
        let url = DatabaseUrl::Sqlite(directory.path().join("events.db"));
        let store = gnomon_event_store::open(&url).await.unwrap();
        let source = Arc::new(Watched {
            source: source::open(&url).await.unwrap(),
            reads: AtomicUsize::new(0),
            whole: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        });
        let limits = BatchLimits {
            events: page_events,
            bytes: 1 << 30,
            until: None,
        };
        let opened: Arc<dyn Source> = Arc::clone(&source) as Arc<dyn Source>;
        Self {
            store,
            scan: SharedScan::on_processors(opened, limits, processors),
            source,
            limits,
            directory,
        }
    }

    /// Appends events of all types to streams of all categories, and waits
    /// until they can be read.
    async fn append(&self, count: usize) {
        for _ in 0..count.div_ceil(100) {
            for category in CATEGORIES {
                let events: Vec<NewEvent> = (0..100_usize.min(count).div_ceil(CATEGORIES.len()))
                    .map(|n| {
                        NewEvent::new(TYPES[n % TYPES.len()], r#"{"n": 1}"#)
                            .unwrap()
                            .with_metadata(r#"{"user_id": "u"}"#)
                            .unwrap()
                    })
                    .collect();
                let stream = StreamId::new(format!("{category}-1")).unwrap();
                self.store
                    .append(&stream, ExpectedVersion::Any, &events)
                    .await
                    .unwrap();
            }
        }
        let head = self.source.look().await.unwrap().head;
        let mut frontier = self.source.frontier();
        frontier.wait_for(|now| now.safe >= head).await.unwrap();
    }

    async fn head(&self) -> Position {
        self.source.look().await.unwrap().head
    }

    /// What a subscription wants, in one go.
    async fn expected(&self, wants: &Subscription, after: &Checkpoint) -> Vec<Event> {
        let all = BatchLimits {
            events: 1_000_000,
            ..self.limits
        };
        let batch = self.source.source.read(after, wants, all).await.unwrap();
        batch.events.iter().map(Event::from).collect()
    }

    fn reader(&self, group: ScanGroup, subscription: &Subscription, from: Checkpoint) -> Reader {
        let reading = Reading {
            from,
            subscription: subscription.clone(),
            limits: self.limits,
            group,
        };
        Reader::start(&Handle::current(), &self.scan, reading)
    }

    fn reads(&self) -> usize {
        self.source.reads.load(Ordering::SeqCst)
    }
}

async fn next(reader: &mut Reader) -> Portion {
    tokio::time::timeout(Duration::from_secs(60), reader.next())
        .await
        .expect("the reader stands still")
        .unwrap()
        .unwrap()
}

/// What a reader gives up to a position.
async fn read_to(reader: &mut Reader, end: Position) -> Vec<Event> {
    read_in_portions(reader, end, usize::MAX).await
}

/// The same, in portions of at most so many events.
async fn read_in_portions(reader: &mut Reader, end: Position, portion_max: usize) -> Vec<Event> {
    let mut events = Vec::new();
    let mut last = Position::START;
    while last < end {
        let portion = next(reader).await;
        assert!(portion.position >= last, "the checkpoint went back");
        last = portion.position;
        let list = &portion.events;
        assert!(list.len() <= portion_max, "{} events", list.len());
        assert_eq!(portion.next, Checkpoint::behind(portion.position));
        events.extend(list.iter().map(Event::from));
    }
    events
}

fn everything() -> Subscription {
    Subscription::default()
}

fn some(random: &mut StdRng, names: &[&str]) -> Vec<String> {
    let count = random.random_range(0..names.len());
    names
        .sample(random, count)
        .map(|name| (*name).to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_with_whom_gets_what_it_wants() {
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(random.random_range(1..50), random.random_range(1..8)).await;
        world.append(1_000).await;
        // Portions of whole pages, and of parts of them.
        world.limits.events = random.random_range(1..50);
        let portion_max = world.limits.events;
        let mut reading = Vec::new();
        for _ in 0..8 {
            let wants = Subscription {
                event_types: some(&mut random, &TYPES),
                categories: some(&mut random, &CATEGORIES),
                metadata: random.random(),
            };
            let group = [ScanGroup::Alone, ScanGroup::Live, ScanGroup::Builds];
            let group = *group.choose(&mut random).unwrap();
            let from = [0, 0, 0, 1, 30, 500].choose(&mut random).unwrap();
            let from = Checkpoint::behind(Position::new(*from).unwrap());
            let mut reader = world.reader(group, &wants, from.clone());
            let end = world.head().await;
            let pause = random.random_range(0..3);
            let read = tokio::spawn(async move {
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
                read_in_portions(&mut reader, end, portion_max).await
            });
            reading.push((wants, from, group, read));
        }
        for (wants, from, group, read) in reading {
            let expected = world.expected(&wants, &from).await;
            let read = read.await.unwrap();
            assert_eq!(
                read, expected,
                "seed {seed}: {wants:?} from {from:?}, {group:?}"
            );
            assert!(read.iter().all(|event| {
                wants.metadata != event.metadata.is_empty()
                    && (wants.categories.is_empty()
                        || wants
                            .categories
                            .iter()
                            .any(|name| name == category(&event.stream_id)))
            }));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nearly_all_is_wanted_all_is_read() {
    let events = World::new(1_000, 2).await;
    events.append(40_000).await;
    for group in [ScanGroup::Alone, ScanGroup::Live] {
        for (wanted, may_be_whole) in [(&TYPES[..], true), (&TYPES[..3], false)] {
            let world = World::over(Arc::clone(&events.directory), 1_000, 2).await;
            let end = world.head().await;
            let start = world.source.start();
            let wants = Subscription {
                event_types: wanted.iter().map(|name| (*name).to_owned()).collect(),
                ..everything()
            };
            let expected = world.expected(&wants, &start).await;
            let mut reader = world.reader(group, &wants, start);
            assert_eq!(read_to(&mut reader, end).await, expected);
            let (reads, whole) = (world.reads(), world.source.whole.load(Ordering::SeqCst));
            assert_eq!(whole > 0, may_be_whole, "{whole} of {reads}");
            // Each so many pages one is asked for what is wanted.
            let filtered = reads - whole;
            assert!(filtered >= reads / 16, "{whole} of {reads}");
            assert!(!may_be_whole || filtered < reads / 8, "{whole} of {reads}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_late_misses_nothing_that_the_others_left_out() {
    let world = World::new(5, 2).await;
    world.append(300).await;
    let end = world.head().await;
    let start = world.source.start();
    let paid = Subscription {
        event_types: vec!["Paid".to_owned()],
        ..everything()
    };
    // One is read ahead for and stands still, so the pages stay.
    let _stalled = world.reader(ScanGroup::Live, &paid, start.clone());
    let mut early = world.reader(ScanGroup::Live, &paid, start.clone());
    next(&mut early).await;
    let mut late = world.reader(ScanGroup::Live, &everything(), start.clone());
    let expected = world.expected(&everything(), &start).await;
    assert_eq!(read_to(&mut late, end).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_read_once_for_all_who_are_caught_up() {
    let world = World::new(1_000, 2).await;
    world.append(30).await;
    let head = Checkpoint::behind(world.head().await);
    let mut readers = Vec::new();
    for number in 0..20 {
        let wants = Subscription {
            event_types: vec![TYPES[number % TYPES.len()].to_owned()],
            ..everything()
        };
        let mut reader = world.reader(ScanGroup::Live, &wants, head.clone());
        assert!(next(&mut reader).await.caught_up);
        readers.push(reader);
    }
    for _ in 0..10 {
        let before = world.reads();
        let stream = StreamId::new("Order-2").unwrap();
        let event = NewEvent::new("Paid", "{}").unwrap();
        world
            .store
            .append(&stream, ExpectedVersion::Any, &[event])
            .await
            .unwrap();
        let end = world.head().await;
        for (number, reader) in readers.iter_mut().enumerate() {
            let wants_it = TYPES[number % TYPES.len()] == "Paid";
            let read = read_to(reader, end).await;
            assert_eq!(read.len(), usize::from(wants_it), "reader {number}");
        }
        assert_eq!(world.reads() - before, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_projections_wait_for_nobody() {
    let world = World::new(5, 1).await;
    world.append(3_000).await;
    let end = world.head().await;
    let mut stalled = world.reader(ScanGroup::Live, &everything(), world.source.start());
    let mut quick = world.reader(ScanGroup::Live, &everything(), world.source.start());
    let expected = world.expected(&everything(), &world.source.start()).await;
    assert_eq!(read_to(&mut quick, end).await, expected);
    assert_eq!(read_to(&mut stalled, end).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_read_once_where_processors_are_few() {
    const PAGE: usize = 5;
    let world = World::new(PAGE, 1).await;
    world.append(3_000).await;
    let end = world.head().await;
    let start = world.source.start();
    let mut slow = world.reader(ScanGroup::Builds, &everything(), start.clone());
    let mut quick = world.reader(ScanGroup::Builds, &everything(), start.clone());
    let quick = tokio::spawn(async move { read_to(&mut quick, end).await });
    let mut events = Vec::new();
    let mut last = Position::START;
    while last < end {
        let portion = next(&mut slow).await;
        last = portion.position;
        events.extend(portion.events.iter().map(Event::from));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let expected = world.expected(&everything(), &start).await;
    assert_eq!(quick.await.unwrap(), expected);
    assert_eq!(events.len(), expected.len());
    // Alone, each would have read all the pages.
    let pages = expected.len() / PAGE;
    assert!(world.reads() < pages + pages / 2, "{} reads", world.reads());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_stands_still_does_not_hold_the_others_for_ever() {
    let world = World::new(5, 1).await;
    world.append(3_000).await;
    let end = world.head().await;
    let start = world.source.start();
    let _stalled = world.reader(ScanGroup::Builds, &everything(), start.clone());
    let mut quick = world.reader(ScanGroup::Builds, &everything(), start.clone());
    let expected = world.expected(&everything(), &start).await;
    assert_eq!(read_to(&mut quick, end).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_to_all_and_over_when_it_is_over() {
    let world = World::new(10, 2).await;
    world.append(300).await;
    let end = world.head().await;
    let start = world.source.start();
    world.source.fails.store(true, Ordering::SeqCst);
    let readers: Vec<Reader> = (0..3)
        .map(|_| world.reader(ScanGroup::Live, &everything(), start.clone()))
        .collect();
    for mut reader in readers {
        let error = reader.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the store is away");
    }
    world.source.fails.store(false, Ordering::SeqCst);
    let expected = world.expected(&everything(), &start).await;
    for _ in 0..3 {
        let mut reader = world.reader(ScanGroup::Live, &everything(), start.clone());
        assert_eq!(read_to(&mut reader, end).await, expected);
    }
}

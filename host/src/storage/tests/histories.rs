//! What is kept of the history of the source, beside the checkpoint.

use gnomon_event_store::source::{KnownEvent, LateEvent};

use super::*;
use crate::read_models::KeptHistory;

on_both!(
    the_last_event_moves_with_the_checkpoint,
    a_host_that_was_fenced_keeps_nothing,
    users_take_the_store_as_it_is,
    a_late_event_concerns_those_that_have_passed_it,
    a_candidate_need_not_reach_a_live_one_whose_store_was_set_back,
);

fn event(number: u64) -> KnownEvent {
    KnownEvent {
        position: Position::new(number).unwrap(),
        id: format!("id-{number}"),
    }
}

fn kept(number: u64) -> KeptHistory {
    KeptHistory {
        event: Some(event(number)),
        ..KeptHistory::default()
    }
}

async fn step(
    writer: &mut dyn Writer,
    (from, to): (u64, u64),
    event: Option<&KnownEvent>,
    into_empty: bool,
) -> Result<(), StorageError> {
    writer
        .commit(Commit {
            writes: [upserts(0, vec![order(to.cast_signed(), "ada")])]
                .as_slice()
                .into(),
            expected: &checkpoint(from),
            next: &checkpoint(to),
            position: Position::new(to).unwrap(),
            event,
            dead_letters: DeadLetterChanges::default(),
            rate: Rate::default(),
            into_empty,
        })
        .await
}

async fn the_last_event_moves_with_the_checkpoint(database: &Database) {
    let mut started = started(database, &orders()).await;
    let writer = &mut *started.writer;
    assert_eq!(writer.history().await.unwrap(), KeptHistory::default());
    // In bulk, in one statement, and without news.
    step(writer, (0, 3), Some(&event(2)), true).await.unwrap();
    assert_eq!(writer.history().await.unwrap(), kept(2));
    step(writer, (3, 5), Some(&event(5)), false).await.unwrap();
    assert_eq!(writer.history().await.unwrap(), kept(5));
    step(writer, (5, 9), None, false).await.unwrap();
    assert_eq!(writer.history().await.unwrap(), kept(5));
    // A commit that changes nothing keeps nothing.
    let refused = step(writer, (7, 12), Some(&event(12)), false).await;
    assert_eq!(refused.unwrap_err().kind(), StorageErrorKind::Fenced);
    assert_eq!(writer.history().await.unwrap(), kept(5));
}

async fn a_host_that_was_fenced_keeps_nothing(database: &Database) {
    let mut started = started(database, &orders()).await;
    step(&mut *started.writer, (0, 3), Some(&event(2)), false)
        .await
        .unwrap();
    let id = started.generation.id;
    let lease = acquired(&started.storage, id, "host-a").await;
    let answer = started.writer.keep_history(&kept(9)).await;
    assert_eq!(answer.unwrap_err().kind(), StorageErrorKind::Fenced);
    let answer = started.writer.history().await;
    assert_eq!(answer.unwrap_err().kind(), StorageErrorKind::Fenced);
    let description = Arc::new(orders());
    let mut writer = started
        .storage
        .read_models
        .writer(lease, description)
        .await
        .unwrap();
    assert_eq!(writer.history().await.unwrap(), kept(2));
}

async fn users_take_the_store_as_it_is(database: &Database) {
    let mut started = started(database, &orders()).await;
    step(&mut *started.writer, (0, 3), Some(&event(2)), false)
        .await
        .unwrap();
    let set_back = KeptHistory {
        is_set_back: true,
        ..kept(2)
    };
    started.writer.keep_history(&set_back).await.unwrap();
    started
        .storage
        .registry
        .note_late(late_at(1))
        .await
        .unwrap();
    let found = started.writer.history().await.unwrap();
    assert_eq!((found.is_set_back, found.late.is_some()), (true, true));
    let resumes = async || started.storage.registry.controls().await.unwrap()[0].resumes;
    let before = resumes().await;
    started
        .storage
        .registry
        .accept_history("orders_by_customer")
        .await
        .unwrap();
    assert_eq!(resumes().await, before + 1);
    let found = started.writer.history().await.unwrap();
    assert_eq!(found, KeptHistory::default());
    let unknown = started.storage.registry.accept_history("nobody").await;
    refused(unknown, StorageErrorKind::Refused, "there is no projection");
}

async fn a_late_event_concerns_those_that_have_passed_it(database: &Database) {
    let mut started = started(database, &orders()).await;
    step(&mut *started.writer, (0, 7), Some(&event(5)), false)
        .await
        .unwrap();
    let at = |number| Position::new(number).unwrap();
    for (late, hole_end, expected) in [
        (8, 8, None),
        // In the store that it has read there was an event.
        (1, 5, None),
        (5, 9, None),
        (7, 9, Some(7)),
        (4, 4, Some(4)),
        (6, 6, Some(4)),
        (3, 4, Some(3)),
    ] {
        let late = LateEvent {
            position: at(late),
            hole_end: at(hole_end),
        };
        started.storage.registry.note_late(late).await.unwrap();
        let found = started.writer.history().await.unwrap();
        assert_eq!(found.late.map(Position::get), expected, "after {late:?}");
    }
}

/// The only event of a hole.
fn late_at(number: u64) -> LateEvent {
    let position = Position::new(number).unwrap();
    LateEvent {
        position,
        hole_end: position,
    }
}

async fn a_candidate_need_not_reach_a_live_one_whose_store_was_set_back(database: &Database) {
    let mut live = started(database, &orders()).await;
    step(&mut *live.writer, (0, 9), Some(&event(9)), false)
        .await
        .unwrap();
    live.storage
        .registry
        .promote(live.generation.id)
        .await
        .unwrap();
    let storage = live.storage.clone();
    let generation = created(&storage, &orders()).await.unwrap();
    let mut candidate = started_on(storage.clone(), generation).await;
    step(&mut *candidate.writer, (0, 4), Some(&event(4)), false)
        .await
        .unwrap();
    let id = candidate.generation.id;
    assert_eq!(
        storage.registry.promote(id).await.unwrap(),
        Promotion::Behind
    );
    let set_back = KeptHistory {
        is_set_back: true,
        ..kept(9)
    };
    live.writer.keep_history(&set_back).await.unwrap();
    assert_eq!(storage.registry.promote(id).await.unwrap(), Promotion::Done);
}

//! Dead letters, and decisions to skip events.

use gnomon_model::{Event, Payload};

use super::*;
use crate::dead_letter::{DeadLetter, Decided, MetSkip, PageLimits, Skip, SkipOutcome};
use crate::generation::GenerationState;

on_both!(
    a_page_of_dead_letters_is_bounded_in_bytes,
    a_request_moves_to_the_generation_that_takes_over,
    a_skip_holds_for_every_generation_and_copy,
    a_skip_that_comes_too_late_is_known_to,
    a_skip_is_of_one_event_and_no_other,
    a_candidate_with_more_dead_letters_is_promoted_only_by_name,
    a_candidate_with_dead_letters_of_its_own_is_held,
    a_candidate_whose_dead_letters_wait_anyway_is_promoted,
);

const DECIDED: Decided<'static> = Decided {
    actor: "me@here",
    reason: None,
};

fn position(number: u64) -> Position {
    Position::new(number).unwrap()
}

fn letter(at: u64, stream: &str, bytes: usize) -> DeadLetter {
    DeadLetter {
        event: Event {
            position: position(at),
            id: format!("event-{at}"),
            stream_id: stream.to_owned(),
            event_type: "Placed".to_owned(),
            version: 1,
            schema_version: 1,
            data: Payload::Json("1".repeat(bytes)),
            metadata: String::new(),
            recorded_at: 0,
        },
        error: "bad".to_owned(),
    }
}

fn skip(at: u64, event: &str) -> Skip {
    Skip {
        position: position(at),
        event_id: event.to_owned(),
        stream_id: "Order-1".to_owned(),
        event_type: "Placed".to_owned(),
        reason: Some("twice".to_owned()),
        actor: "me@here".to_owned(),
        decided_at: 1_700_000_000_000_000,
    }
}

impl Started {
    /// Commits changes of dead letters, up to a position.
    async fn change(&mut self, to: u64, changes: DeadLetterChanges<'_>) {
        let expected = self.writer.checkpoint().await.unwrap();
        self.writer
            .commit(Commit {
                writes: (&[]).into(),
                expected: &expected,
                next: &checkpoint(to),
                position: position(to),
                event: None,
                dead_letters: changes,
                rate: Rate::default(),
                into_empty: false,
            })
            .await
            .unwrap();
    }

    async fn park(&mut self, to: u64, letters: &[DeadLetter]) {
        let changes = DeadLetterChanges {
            park: letters,
            ..DeadLetterChanges::default()
        };
        self.change(to, changes).await;
    }

    async fn stored(&self) -> Generation {
        stored(&self.storage, self.generation.id).await.unwrap()
    }
}

async fn a_page_of_dead_letters_is_bounded_in_bytes(database: &Database) {
    let mut started = started(database, &orders()).await;
    let letters: Vec<DeadLetter> = (1..=9).map(|at| letter(at, "Order-1", 1_000)).collect();
    started.park(9, &letters).await;
    let limits = |events, bytes| PageLimits { events, bytes };
    for (limits, count) in [
        (limits(100, 1 << 20), 9),
        (limits(4, 1 << 20), 4),
        (limits(100, 3_500), 3),
        // One is always given, or nobody would get further.
        (limits(100, 10), 1),
    ] {
        let page = started
            .writer
            .dead_letters(Some("Order-1"), Position::START, limits)
            .await
            .unwrap();
        assert_eq!(page, letters[..count], "{limits:?}");
        let id = started.generation.id;
        let page = started
            .storage
            .read_models
            .dead_letters(id, position(2), limits)
            .await;
        let rest = &letters[2..];
        assert_eq!(page.unwrap(), rest[..count.min(rest.len())], "{limits:?}");
    }
    assert_eq!(started.writer.count_dead_letters().await.unwrap(), 9);
}

async fn a_request_moves_to_the_generation_that_takes_over(database: &Database) {
    let storage = database.open().await;
    let first = created(&storage, &orders()).await.unwrap();
    storage
        .registry
        .request_retry(first.id, Some("Order-1"))
        .await
        .unwrap();
    // The first build is replaced before readers saw it.
    let second = created(&storage, &orders()).await.unwrap();
    let wanted = async |id| {
        let controls = storage.registry.controls().await.unwrap();
        let own = controls.iter().find(|control| control.generation == id);
        own.is_some_and(|control| control.requests > 0)
    };
    assert!(wanted(second.id).await);
    promoted(&storage, second.id).await;
    let third = created(&storage, &orders()).await.unwrap();
    assert!(wanted(second.id).await && !wanted(third.id).await);
    promoted(&storage, third.id).await;
    assert!(!wanted(second.id).await && wanted(third.id).await);
    let mut started = started_on(storage, third).await;
    let request = started.writer.next_request().await.unwrap().unwrap();
    assert_eq!(request.stream.as_deref(), Some("Order-1"));
    let done = DeadLetterChanges {
        done: Some(request.id),
        ..DeadLetterChanges::default()
    };
    started.change(1, done).await;
    assert_eq!(started.writer.next_request().await.unwrap(), None);
}

async fn a_skip_holds_for_every_generation_and_copy(database: &Database) {
    let storage = database.open().await;
    let projection = orders().name;
    let unknown = storage.registry.skip(&projection, &skip(3, "three")).await;
    refused(unknown, StorageErrorKind::Refused, "there is no projection");
    let first = created(&storage, &orders()).await.unwrap();
    assert!(
        storage
            .registry
            .skip(&projection, &skip(3, "three"))
            .await
            .unwrap()
    );
    assert!(
        storage
            .registry
            .skip(&projection, &skip(5, "five"))
            .await
            .unwrap()
    );
    assert!(
        !storage
            .registry
            .skip(&projection, &skip(5, "five"))
            .await
            .unwrap()
    );
    promoted(&storage, first.id).await;
    let second = created(&storage, &orders()).await.unwrap();
    let module = added(&storage, &orders()).await.unwrap();
    let description = orders();
    let mut copy = new_generation(&module, &description);
    copy.projection = "copied";
    let copy = storage.registry.create_generation(copy).await.unwrap();
    for generation in [first, second, copy] {
        let control = storage.registry.controls().await.unwrap();
        let control = control.iter().find(|of| of.generation == generation.id);
        assert!(control.unwrap().skips > 0);
        let mut started = started_on(storage.clone(), generation).await;
        let found = started.writer.skips(Position::START, 10).await.unwrap();
        assert_eq!(found, [skip(3, "three"), skip(5, "five")]);
        let found = started.writer.skips(position(3), 10).await.unwrap();
        assert_eq!(found, [skip(5, "five")]);
        let found = started.writer.skips(Position::START, 1).await.unwrap();
        assert_eq!(found, [skip(3, "three")]);
    }
    assert!(
        storage
            .registry
            .unskip(&projection, position(3))
            .await
            .unwrap()
    );
    assert!(
        !storage
            .registry
            .unskip(&projection, position(3))
            .await
            .unwrap()
    );
    let found = storage
        .registry
        .skips(&projection, Position::START, 10)
        .await
        .unwrap();
    assert_eq!(found, [skip(5, "five")]);
    // They go with the projection.
    storage
        .registry
        .drop_projection("copied", false)
        .await
        .unwrap();
    storage
        .registry
        .drop_projection(&projection, false)
        .await
        .unwrap();
    created(&storage, &orders()).await.unwrap();
    let found = storage
        .registry
        .skips(&projection, Position::START, 10)
        .await
        .unwrap();
    assert_eq!(found, []);
}

async fn a_skip_that_comes_too_late_is_known_to(database: &Database) {
    let mut started = started(database, &orders()).await;
    let projection = orders().name;
    let storage = started.storage.clone();
    storage
        .registry
        .skip(&projection, &skip(2, "two"))
        .await
        .unwrap();
    let met = |at, outcome| MetSkip {
        position: position(at),
        outcome,
    };
    let changes = DeadLetterChanges {
        met: &[met(2, SkipOutcome::Skipped)],
        late: 3,
        ..DeadLetterChanges::default()
    };
    started.change(5, changes).await;
    let stored = started.stored().await;
    assert_eq!((stored.applied_late, stored.changed_skips), (3, 0));
    // Applied already; still to come.
    storage
        .registry
        .skip(&projection, &skip(4, "four"))
        .await
        .unwrap();
    storage
        .registry
        .skip(&projection, &skip(6, "six"))
        .await
        .unwrap();
    assert_eq!(started.stored().await.changed_skips, 1);
    storage
        .registry
        .unskip(&projection, position(2))
        .await
        .unwrap();
    assert_eq!(started.stored().await.changed_skips, 2);
    storage
        .registry
        .unskip(&projection, position(4))
        .await
        .unwrap();
    storage
        .registry
        .skip(&projection, &skip(2, "two"))
        .await
        .unwrap();
    assert_eq!(started.stored().await.changed_skips, 0);
    let changes = DeadLetterChanges {
        met: &[met(6, SkipOutcome::OtherEvent)],
        ..DeadLetterChanges::default()
    };
    started.change(6, changes).await;
    storage
        .registry
        .unskip(&projection, position(6))
        .await
        .unwrap();
    assert_eq!(started.stored().await.changed_skips, 0);
}

async fn a_skip_is_of_one_event_and_no_other(database: &Database) {
    let mut started = started(database, &orders()).await;
    let projection = orders().name;
    let letters: Vec<DeadLetter> = (1..=4).map(|at| letter(at, "Order-1", 1)).collect();
    started.park(4, &letters).await;
    let storage = started.storage.clone();
    storage
        .registry
        .skip(&projection, &skip(1, "event-1"))
        .await
        .unwrap();
    storage
        .registry
        .skip(&projection, &skip(3, "another"))
        .await
        .unwrap();
    let found = started.writer.skipped_letters(10).await.unwrap();
    assert_eq!(found, [(position(1), "Order-1".to_owned())]);
    // Deciding for what waits is about the events that wait.
    let count = storage
        .registry
        .skip_dead_letters(started.generation.id, Some("Order-1"), DECIDED)
        .await
        .unwrap();
    assert_eq!(count, 4);
    let found = started.writer.skipped_letters(10).await.unwrap();
    assert_eq!(found.len(), 4, "{found:?}");
    let other = storage
        .registry
        .skip_dead_letters(started.generation.id, Some("Order-2"), DECIDED);
    assert_eq!(other.await.unwrap(), 0);
}

/// What another event is at the same position.
fn other_letter(at: u64, stream: &str) -> DeadLetter {
    let mut letter = letter(at, stream, 1);
    letter.event.id = format!("other-{at}");
    letter
}

async fn a_candidate_with_dead_letters_of_its_own_is_held(database: &Database) {
    let mut live = started(database, &orders()).await;
    let letters = [letter(1, "Order-1", 1), letter(2, "Order-2", 1)];
    live.park(5, &letters).await;
    let storage = live.storage.clone();
    promoted(&storage, live.generation.id).await;
    for (version, parked, expected) in [
        // As many as the live one, and fewer.
        (
            2,
            vec![letter(2, "Order-2", 1), letter(3, "Order-3", 1)],
            "1 event waits in its dead-letter table that does not wait in that of the live \
             generation, at position 3;",
        ),
        (
            3,
            vec![letter(5, "Order-5", 1)],
            "1 event waits in its dead-letter table that does not wait in that of the live \
             generation, at position 5;",
        ),
        (
            4,
            vec![other_letter(1, "Order-1"), letter(4, "Order-4", 1)],
            "2 events wait in its dead-letter table that do not wait in that of the live \
             generation, the first of them at position 1;",
        ),
    ] {
        let candidate = created(&storage, &orders_of("orders_by_customer", version))
            .await
            .unwrap();
        let id = candidate.id;
        let mut candidate = started_on(storage.clone(), candidate).await;
        candidate.park(5, &parked).await;
        let Promotion::Refused(reason) = storage.registry.promote(id).await.unwrap() else {
            panic!("it was not held: {parked:?}")
        };
        assert!(reason.starts_with(expected), "{reason}");
    }
}

async fn a_candidate_whose_dead_letters_wait_anyway_is_promoted(database: &Database) {
    let mut live = started(database, &orders()).await;
    let letters = [letter(1, "Order-1", 1), letter(2, "Order-2", 1)];
    live.park(2, &letters).await;
    let storage = live.storage.clone();
    promoted(&storage, live.generation.id).await;
    let candidate = created(&storage, &orders_of("orders_by_customer", 2))
        .await
        .unwrap();
    let mut candidate = started_on(storage.clone(), candidate).await;
    candidate.park(2, &letters[1..]).await;
    promoted(&storage, candidate.generation.id).await;
}

async fn a_candidate_with_more_dead_letters_is_promoted_only_by_name(database: &Database) {
    let mut live = started(database, &orders()).await;
    live.park(2, &[letter(1, "Order-1", 1)]).await;
    let storage = live.storage.clone();
    // There is nothing to compare the first one with.
    promoted(&storage, live.generation.id).await;
    let candidate = created(&storage, &orders_of("orders_by_customer", 2))
        .await
        .unwrap();
    let id = candidate.id;
    let mut candidate = started_on(storage.clone(), candidate).await;
    let letters = [letter(1, "Order-1", 1), letter(2, "Order-2", 1)];
    candidate.park(2, &letters).await;
    let Promotion::Refused(reason) = storage.registry.promote(id).await.unwrap() else {
        panic!("it was not held")
    };
    assert!(
        reason.contains("1 event waits")
            && reason.contains("at position 2;")
            && reason.contains("gnomon promote orders_by_customer"),
        "{reason}"
    );
    let held = stored(&storage, id).await.unwrap();
    assert_eq!((held.goal, held.obstacle), (Goal::Hold, refusal(reason)));
    storage.registry.set_goal(id, Goal::Promote).await.unwrap();
    promoted(&storage, id).await;
    // To go back is to ask by name.
    let old = live.generation.id;
    assert_eq!(
        stored(&storage, old).await.unwrap().state,
        GenerationState::Retired
    );
    storage.registry.set_goal(old, Goal::Promote).await.unwrap();
    promoted(&storage, old).await;
}

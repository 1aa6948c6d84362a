//! How often operations look, and for how long they wait.
//!
//! They wait for what other processes write to the registry, so they ask it again
//! and again. Nothing but the reaction time of a command depends on these, except
//! where it is said.

use std::time::Duration;

use crate::supervisor::CONTROL_LOOK_MAX;

/// How often the registry is asked whether a generation has got further: a person
/// notices no delay, and the query is small.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// The same for `wait`, which programs call between an append and a read.
pub(super) const QUICK_LOOK: Duration = Duration::from_millis(20);
/// How often the projections directory is read while nobody knows the projection.
pub(super) const DIRECTORY_LOOK: Duration = Duration::from_millis(250);
/// How often an operation that waits for a host looks for one.
pub(super) const HOST_LOOK: Duration = Duration::from_secs(1);
/// How often an operation looks whether it has to do a host's work itself.
pub(super) const HELP_LOOK: Duration = Duration::from_millis(100);

/// How long after a failure a database is asked again.
pub(super) const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How long a host may take to come if the caller has set no limit.
pub(super) const HOST_COMES: Duration = Duration::from_secs(30);
/// How long a host that has just started may take to say that it is there.
pub(super) const HOST_STARTS: Duration = Duration::from_secs(5);
/// How long a request about dead letters may take.
pub(super) const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(30);
/// How long a projection may be without a lease while there are hosts. One that
/// stood still gives its lease back, and takes a new one to go on.
pub(super) const BETWEEN_LEASES: Duration = Duration::from_secs(2);

/// How long a generation that is built to be compared outlives a caller that was
/// killed.
pub(super) const COMPARED_FOR: Duration = Duration::from_secs(15);
/// How long two generations are compared as they happen to stand before they are
/// asked to stand still.
pub(super) const GLANCES: Duration = Duration::from_secs(1);
/// A generation that has not moved for this long has heard that it is to stand
/// still: in this time its host has looked twice at what users want.
pub(super) const STANDS_AFTER: Duration = CONTROL_LOOK_MAX.saturating_mul(2);
/// For how long a generation is asked to stand still; it is asked again. If the
/// caller is killed, the generation continues after this time.
pub(super) const STANDS_FOR: Duration = Duration::from_secs(10);
/// How long a generation may take to get to the other one's position.
pub(super) const MEETING_TIME: Duration = Duration::from_secs(60);

//! Taking in from the stream and from a replay so that neither starves the other.

use super::runs::{ReplayFeed, Replaying};
use crate::capture::{Captured, ChangeSource, SourceError};

/// What there is to be carried next.
pub(super) enum Brought {
    Live(Result<Option<Vec<Captured>>, SourceError>),
    Again(ReplayFeed),
}

/// Takes from the stream, where there is room, or from the replay, where that may come on; by turns, if
/// both have something. Cancel safe.
pub(super) async fn brought(
    source: &mut dyn ChangeSource,
    replay: &mut Option<Replaying>,
    room: bool,
    replays: bool,
    replay_next: bool,
) -> Brought {
    let live = async {
        match room {
            true => Brought::Live(source.next().await),
            false => std::future::pending().await,
        }
    };
    let again = async {
        match replay.as_mut().filter(|_| replays) {
            Some(replay) => Brought::Again(replay.next().await),
            None => std::future::pending().await,
        }
    };
    if replay_next {
        tokio::select! { biased; brought = again => brought, brought = live => brought }
    } else {
        tokio::select! { biased; brought = live => brought, brought = again => brought }
    }
}

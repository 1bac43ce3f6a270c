//! Limits the number of large responses in memory.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// A response larger than this waits for room, in bytes.
pub(crate) const LARGE: usize = 2 << 20;
/// The maximum number of large responses in the process: at 32 MiB each, half a gibibyte.
const MAX: usize = 16;
/// The maximum wait for room. The holder of the room may itself wait for this response, as a page waits for its
/// details; after this time the response is read without room.
const PATIENCE: Duration = Duration::from_secs(5);

static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX)));

/// The room of one client: one large response at a time.
#[derive(Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// The room of a large response, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct RoomPermit {
    _own: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

/// A response body with its room.
struct RoomedBody {
    body: Bytes,
    _permit: RoomPermit,
}

impl AsRef<[u8]> for RoomedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Room {
    /// Waits for room.
    pub(crate) async fn wait(&self) -> RoomPermit {
        let both = async {
            RoomPermit {
                _own: Arc::clone(&self.0).acquire_owned().await.ok(),
                _of_all: Arc::clone(&ALL).acquire_owned().await.ok(),
            }
        };
        timeout(PATIENCE, both).await.unwrap_or_default()
    }
}

impl RoomPermit {
    /// Keeps the room as long as any part of the response lives.
    pub(crate) fn keep(self, body: Bytes) -> Bytes {
        Bytes::from_owner(RoomedBody {
            body,
            _permit: self,
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_waits_until_the_one_before_it_is_gone_and_not_for_ever() {
        let room = Room::default();
        let first = room.wait().await.keep(Bytes::from_static(b"first"));
        let part = first.slice(1..);
        drop(first);
        let start = Instant::now();
        let second = room.wait().await;
        assert_eq!(start.elapsed(), PATIENCE);
        drop(part);
        let third = room.wait().await;
        assert_eq!(start.elapsed(), PATIENCE);
        // A response without room has none to return.
        drop(second);
        assert!(timeout(PATIENCE / 2, room.wait()).await.is_err());
        drop(third);
    }
}

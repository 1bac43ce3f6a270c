//! Slots for open connections, and the choice of the one that makes room when none is free.
//!
//! A connection that waits for a request costs its client nothing. When all slots are taken, the address with most
//! silent connections loses the one that has waited longest: a client that opens many connections loses its own.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The slots for connections.
#[derive(Clone)]
pub(crate) struct ConnectionSlots {
    /// A connection counts as silent after this time: earlier, its request may be on its way.
    silent_after: Duration,
    free: Arc<Semaphore>,
    taken: Arc<Mutex<TakenSlots>>,
}

#[derive(Default)]
struct TakenSlots {
    last: u64,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    client: IpAddr,
    activity: Arc<Activity>,
}

/// The activity of a connection.
pub(crate) struct Activity {
    /// Requests without an answer so far.
    requests: AtomicUsize,
    /// The time of the last answer, or of the opening of the connection.
    silent_since: Mutex<Instant>,
    make_room: Notify,
}

/// A taken slot, until this is dropped.
pub(crate) struct ConnectionSlot {
    number: u64,
    slots: ConnectionSlots,
    _permit: OwnedSemaphorePermit,
    pub activity: Arc<Activity>,
}

impl ConnectionSlots {
    pub(crate) fn new(limit: usize, silent_after: Duration) -> Self {
        Self {
            silent_after,
            free: Arc::new(Semaphore::new(limit)),
            taken: Arc::default(),
        }
    }

    /// Takes a slot. If none is free, a silent connection has to make room for the next one.
    pub(crate) fn take(&self, client: IpAddr) -> Option<ConnectionSlot> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                self.make_room();
                return None;
            }
        };
        let activity = Arc::new(Activity {
            requests: AtomicUsize::new(0),
            silent_since: Mutex::new(Instant::now()),
            make_room: Notify::new(),
        });
        let mut taken = self.taken();
        taken.last += 1;
        let number = taken.last;
        let connection = Connection {
            client,
            activity: Arc::clone(&activity),
        };
        taken.connections.insert(number, connection);
        drop(taken);
        Some(ConnectionSlot {
            number,
            slots: self.clone(),
            _permit: permit,
            activity,
        })
    }

    /// Takes a slot as soon as a silent connection has made room; `None` if all are busy.
    pub(crate) async fn take_soon(&self, client: IpAddr) -> Option<ConnectionSlot> {
        const TRIES: u32 = 20;
        for _ in 0..TRIES {
            if let Some(slot) = self.take(client) {
                return Some(slot);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    fn make_room(&self) {
        let taken = self.taken();
        let mut by_client: HashMap<IpAddr, usize> = HashMap::new();
        for connection in taken.connections.values() {
            *by_client.entry(connection.client).or_default() += 1;
        }
        let silent = taken.connections.values().filter_map(|connection| {
            let since = connection.activity.silent_since()?;
            (since.elapsed() >= self.silent_after).then_some((connection, since))
        });
        let next = silent.max_by_key(|(connection, since)| {
            (by_client[&connection.client], std::cmp::Reverse(*since))
        });
        if let Some((connection, _)) = next {
            connection.activity.make_room.notify_one();
        }
    }

    fn taken(&self) -> MutexGuard<'_, TakenSlots> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.taken().connections.remove(&self.number);
    }
}

/// A request, until its answer has been sent.
pub(crate) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.since() = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Activity {
    /// Counts a new request.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Waits until the connection, if still silent, has to make room.
    pub(crate) async fn is_to_end(&self) {
        loop {
            self.make_room.notified().await;
            if self.requests.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    fn silent_since(&self) -> Option<Instant> {
        let is_idle = self.requests.load(Ordering::Relaxed) == 0;
        is_idle.then(|| *self.since())
    }

    fn since(&self) -> MutexGuard<'_, Instant> {
        self.silent_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn the_oldest_silent_one_of_who_has_most_makes_room() {
        let [flood, other] = ["203.0.113.1", "203.0.113.2"].map(|ip| ip.parse().unwrap());
        let slots = ConnectionSlots::new(4, SILENT);
        let lone = slots.take(other).unwrap();
        let busy = slots.take(flood).unwrap();
        let request = busy.activity.begin();
        let silent: Vec<ConnectionSlot> = (0..2).map(|_| slots.take(flood).unwrap()).collect();
        for slot in [&lone, &busy].into_iter().chain(&silent) {
            *slot.activity.since() -= SILENT;
        }
        *silent[1].activity.since() -= SILENT;
        assert!(slots.take(other).is_none());
        silent[1].activity.is_to_end().await;
        drop(silent);
        let taken: Vec<ConnectionSlot> = (0..2).map(|_| slots.take(other).unwrap()).collect();
        // New connections may have a request on its way.
        assert!(slots.take(flood).is_none());
        lone.activity.is_to_end().await;
        drop(request);
        drop(taken);
        assert!(slots.take(flood).is_some());
    }

    #[tokio::test]
    async fn without_a_time_of_silence_the_oldest_one_makes_room_at_once() {
        let client = "203.0.113.1".parse().unwrap();
        let slots = ConnectionSlots::new(2, Duration::ZERO);
        let [oldest, other] = [(); 2].map(|()| slots.take(client).unwrap());
        let request = other.activity.begin();
        let room = async {
            oldest.activity.is_to_end().await;
            drop(oldest);
        };
        let (slot, ()) = tokio::join!(slots.take_soon(client), room);
        assert!(slot.is_some());
        drop(request);
    }
}

//! The clock is an argument, so that tests can set it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::from_micros(micros)
    }
}

/// A clock that a test sets. Clones share the time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.as_micros())))
    }

    /// Sets it.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Gives each caller a time of its own: never the same twice, never an earlier one, in one process.
///
/// It follows the clock beneath, and counts on by microseconds where that stands still or goes back.
pub struct UniqueClock {
    clock: Arc<dyn Clock>,
    last: AtomicI64,
}

impl UniqueClock {
    /// Over `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: AtomicI64::new(i64::MIN) }
    }

    /// The next time.
    pub fn next(&self) -> Timestamp {
        self.next_many(1)
    }

    /// Reserves `count` times that follow each other by a microsecond, and gives the first.
    pub fn next_many(&self, count: usize) -> Timestamp {
        let count = i64::try_from(count.max(1)).unwrap_or(i64::MAX);
        let now = self.clock.now().as_micros();
        let first_after = |last: i64| now.max(last.saturating_add(1));
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let first = first_after(last);
            let end = first.saturating_add(count - 1);
            match self.last.compare_exchange_weak(last, end, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Timestamp::from_micros(first),
                Err(other) => last = other,
            }
        }
    }
}

impl std::fmt::Debug for UniqueClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UniqueClock").field("last", &self.last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_clock_never_repeats_nor_goes_back() {
        let manual = ManualClock::at(Timestamp::from_micros(100));
        let clock = UniqueClock::new(Arc::new(manual.clone()));
        assert_eq!(clock.next().as_micros(), 100);
        assert_eq!(clock.next().as_micros(), 101);
        assert_eq!(clock.next_many(10).as_micros(), 102);
        manual.set(Timestamp::from_micros(50));
        assert_eq!(clock.next().as_micros(), 112);
        manual.set(Timestamp::from_micros(1_000));
        assert_eq!(clock.next().as_micros(), 1_000);
    }
}

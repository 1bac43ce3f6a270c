//! Reuses the memory of finished responses: new memory for every page costs more than filling it.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

/// The maximum number of pooled buffers: that many concurrent responses find free memory again.
const MAX: usize = 4;
/// The maximum size of a response whose memory is pooled, in bytes.
const MAX_POOLED: usize = 1 << 20;

/// A few buffers. Each is free again when its response is dropped.
#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<BytesMut>>);

impl BufferPool {
    /// Returns a buffer with capacity for `bytes`, a free one if possible.
    pub(crate) fn take(&self, bytes: usize) -> BytesMut {
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = buffers
            .iter_mut()
            .position(|spare| spare.try_reclaim(bytes));
        match free {
            Some(free) => buffers.remove(free),
            None => BytesMut::with_capacity(bytes),
        }
    }

    /// Returns the contents of a buffer. Its memory returns to the pool when they are dropped.
    pub(crate) fn freeze(&self, mut buffer: BytesMut) -> Bytes {
        let whole = buffer.split().freeze();
        if whole.len() <= MAX_POOLED {
            let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The oldest buffer may be too small for the current responses.
            if buffers.len() == MAX {
                buffers.remove(0);
            }
            buffers.push(buffer);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(buffers: &BufferPool, bytes: usize) -> Bytes {
        let mut buffer = buffers.take(bytes);
        buffer.resize(bytes, b'x');
        buffers.freeze(buffer)
    }

    #[test]
    fn memory_is_used_again_when_its_answer_is_gone() {
        let buffers = BufferPool::default();
        let memory = answer(&buffers, 100_000).as_ptr();
        for _ in 0..10 {
            assert_eq!(answer(&buffers, 100_000).as_ptr(), memory);
        }
    }

    #[test]
    fn several_answers_at_once_find_their_memory_again() {
        let buffers = BufferPool::default();
        let addresses = |answers: &[Bytes]| {
            let mut addresses: Vec<_> = answers.iter().map(|answer| answer.as_ptr()).collect();
            addresses.sort();
            addresses
        };
        let answers: Vec<Bytes> = (0..MAX).map(|_| answer(&buffers, 50_000)).collect();
        let before = addresses(&answers);
        drop(answers);
        let again: Vec<Bytes> = (0..MAX).map(|_| answer(&buffers, 50_000)).collect();
        assert_eq!(addresses(&again), before);
        assert!(
            again
                .iter()
                .all(|answer| answer.iter().all(|byte| *byte == b'x'))
        );
    }

    #[test]
    fn what_is_kept_is_bounded_and_follows_the_size_of_the_answers() {
        let buffers = BufferPool::default();
        let small: Vec<Bytes> = (0..100).map(|_| answer(&buffers, 10)).collect();
        assert_eq!(buffers.0.lock().unwrap().len(), MAX);
        drop(small);
        for _ in 0..=MAX {
            answer(&buffers, 200_000);
        }
        let memory = answer(&buffers, 200_000).as_ptr();
        assert_eq!(answer(&buffers, 200_000).as_ptr(), memory);
        for _ in 0..100 {
            answer(&buffers, MAX_POOLED + 1);
        }
        assert!(
            buffers
                .0
                .lock()
                .unwrap()
                .iter()
                .all(|spare| spare.capacity() <= MAX_POOLED)
        );
    }
}

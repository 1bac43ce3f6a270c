//! Memory of answers that are done with, for the next ones: new memory for every page costs more than filling it.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

/// So many answers are under way, or held by whoever writes them, at once and still find their memory again.
const MAX: usize = 4;
/// An answer whose memory is kept has at most so many bytes.
const LARGEST: usize = 1 << 20;

/// A few buffers, each free again as soon as nobody holds the answer that lay in it.
#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<BytesMut>>);

impl BufferPool {
    /// A buffer with room for so many bytes, used before where one is free.
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

    /// What was put into a buffer; its memory comes back when that is dropped.
    pub(crate) fn freeze(&self, mut buffer: BytesMut) -> Bytes {
        let whole = buffer.split().freeze();
        if whole.len() <= LARGEST {
            let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // The oldest may be too small for what is read now.
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
        let place = answer(&buffers, 100_000).as_ptr();
        for _ in 0..10 {
            assert_eq!(answer(&buffers, 100_000).as_ptr(), place);
        }
    }

    #[test]
    fn several_answers_at_once_find_their_memory_again() {
        let buffers = BufferPool::default();
        let places = |answers: &[Bytes]| {
            let mut places: Vec<_> = answers.iter().map(|answer| answer.as_ptr()).collect();
            places.sort();
            places
        };
        let answers: Vec<Bytes> = (0..MAX).map(|_| answer(&buffers, 50_000)).collect();
        let before = places(&answers);
        drop(answers);
        let again: Vec<Bytes> = (0..MAX).map(|_| answer(&buffers, 50_000)).collect();
        assert_eq!(places(&again), before);
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
        let place = answer(&buffers, 200_000).as_ptr();
        assert_eq!(answer(&buffers, 200_000).as_ptr(), place);
        for _ in 0..100 {
            answer(&buffers, LARGEST + 1);
        }
        assert!(
            buffers
                .0
                .lock()
                .unwrap()
                .iter()
                .all(|spare| spare.capacity() <= LARGEST)
        );
    }
}

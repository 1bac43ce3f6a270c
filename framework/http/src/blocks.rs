//! Looking at 64 bytes at once: a flag for each byte, made by a loop that compilers turn into vector instructions, and
//! the flags as the bits of a number.

/// How many bytes are looked at together.
pub(crate) const BLOCK: usize = 64;

/// One flag for each byte of a block: one or zero.
pub(crate) struct Flags([u8; BLOCK]);

impl Flags {
    /// What `flag` says of each byte. Not inlined, since what is made of the flags would spoil the loop.
    #[inline(never)]
    pub(crate) fn of(block: &[u8; BLOCK], flag: impl Fn(u8) -> u8) -> Self {
        let mut flags = [0; BLOCK];
        for (to, byte) in flags.iter_mut().zip(block) {
            *to = flag(*byte);
        }
        Self(flags)
    }

    /// The flags side by side, that of the first byte lowest.
    #[inline(always)]
    pub(crate) fn bits(&self) -> u64 {
        let words = self.0.as_chunks().0.iter().enumerate();
        words.fold(0, |bits, (index, eight)| {
            bits | gather(u64::from_le_bytes(*eight)) << (8 * index)
        })
    }
}

/// The lowest bit of each of eight bytes that have no other, side by side.
const fn gather(word: u64) -> u64 {
    word.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

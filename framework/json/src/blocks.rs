//! Looking at 64 bytes at once: flags for each byte, made by a loop that compilers turn into vector instructions, and
//! each flag of all bytes as the bits of a number.

/// How many bytes are looked at together.
pub(crate) const BLOCK: usize = 64;

/// The lowest bit of each byte.
const LOWEST: u64 = 0x0101_0101_0101_0101;

/// Flags for each byte of a block, one in each bit.
pub(crate) struct Flags([u8; BLOCK]);

impl Flags {
    /// Computes the flag of each byte. Not inlined, since the code that uses the flags would spoil the loop.
    #[inline(never)]
    pub(crate) fn of(block: &[u8; BLOCK], flags: impl Fn(u8) -> u8) -> Self {
        let mut all = [0; BLOCK];
        for (to, byte) in all.iter_mut().zip(block) {
            *to = flags(*byte);
        }
        Self(all)
    }

    /// Whether any byte has the flag in this bit.
    #[inline(always)]
    pub(crate) fn any(&self, bit: u32) -> bool {
        let words = self.0.as_chunks().0.iter();
        let all = words.fold(0, |all, eight| all | u64::from_le_bytes(*eight));
        all >> bit & LOWEST != 0
    }

    /// The flag in this bit, of all bytes side by side, that of the first byte lowest.
    #[inline(always)]
    pub(crate) fn bit(&self, bit: u32) -> u64 {
        let words = self.0.as_chunks().0.iter().enumerate();
        words.fold(0, |bits, (index, eight)| {
            bits | gather(u64::from_le_bytes(*eight) >> bit & LOWEST) << (8 * index)
        })
    }
}

/// The lowest bit of each of eight bytes that have no other, side by side.
#[inline(always)]
const fn gather(word: u64) -> u64 {
    word.wrapping_mul(0x0102_0408_1020_4080) >> 56
}

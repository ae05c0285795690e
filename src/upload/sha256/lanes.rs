//! Two messages in two lanes, with the processor's own instructions for SHA-256.
//!
//! Of one message every round waits for the one before, and the instructions take several cycles
//! each; a second message fills the gaps. The instructions can be had from Rust only where the
//! compiler is told that the processor has them, which is for us to make sure of: hence the one
//! `unsafe` call, and the loads and stores of registers beside it.
#![allow(unsafe_code, reason = "instructions that not every processor has; see each block")]
#![allow(clippy::indexing_slicing, reason = "numbers of rounds that are known when compiled")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
};

use super::Block;

/// Proof that this processor has the instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lanes(());

impl Lanes {
    /// Are they there? Asked once; the answer is remembered by the standard library.
    pub(super) fn here() -> Option<Self> {
        // Unoptimised, each instruction is a call: far slower than a dependency that is optimised.
        let worthwhile = cfg!(not(debug_assertions)) || cfg!(test);
        let there = worthwhile
            && is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        there.then_some(Self(()))
    }

    /// Takes in as many blocks of one message as of the other; what one has more is left.
    #[allow(clippy::unused_self, reason = "it is the proof that the instructions are there")]
    pub(super) fn compress(
        self,
        left: (&mut [u32; 8], &[Block]),
        right: (&mut [u32; 8], &[Block]),
    ) {
        // SAFETY: nobody has a `Lanes` on a processor without the three features.
        unsafe { compress(left, right) }
    }
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress(
    (left, left_blocks): (&mut [u32; 8], &[Block]),
    (right, right_blocks): (&mut [u32; 8], &[Block]),
) {
    let (mut one, mut two) = (Lane::load(left), Lane::load(right));
    for (first, second) in left_blocks.iter().zip(right_blocks) {
        let (before_one, before_two) = (one, two);
        let (mut w1, mut w2) = (words(first), words(second));
        rounds16::<0>((&mut one, &mut w1), (&mut two, &mut w2));
        rounds16::<4>((&mut one, &mut w1), (&mut two, &mut w2));
        rounds16::<8>((&mut one, &mut w1), (&mut two, &mut w2));
        rounds16::<12>((&mut one, &mut w1), (&mut two, &mut w2));
        one.add(before_one);
        two.add(before_two);
    }
    one.store(left);
    two.store(right);
}

/// Sixteen rounds of each message, in turn by four; all but the first sixteen make their words of
/// earlier ones.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn rounds16<const FROM: usize>(
    (one, w1): (&mut Lane, &mut [__m128i; 4]),
    (two, w2): (&mut Lane, &mut [__m128i; 4]),
) {
    for i in 0..4 {
        if FROM > 0 {
            w1[i] = next_words(w1, i);
            w2[i] = next_words(w2, i);
        }
        let keys = keys(FROM + i);
        let (sum1, sum2) = (_mm_add_epi32(w1[i], keys), _mm_add_epi32(w2[i], keys));
        one.cdgh = _mm_sha256rnds2_epu32(one.cdgh, one.abef, sum1);
        two.cdgh = _mm_sha256rnds2_epu32(two.cdgh, two.abef, sum2);
        one.abef = _mm_sha256rnds2_epu32(one.abef, one.cdgh, _mm_shuffle_epi32(sum1, 0x0E));
        two.abef = _mm_sha256rnds2_epu32(two.abef, two.cdgh, _mm_shuffle_epi32(sum2, 0x0E));
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn next_words(w: &[__m128i; 4], i: usize) -> __m128i {
    let (w0, w1, w2, w3) = (w[i], w[(i + 1) % 4], w[(i + 2) % 4], w[(i + 3) % 4]);
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));
    _mm_sha256msg2_epu32(sum, w3)
}

#[inline]
#[target_feature(enable = "sse2")]
fn keys(four: usize) -> __m128i {
    let [a, b, c, d] = KEYS[four];
    _mm_set_epi32(d.cast_signed(), c.cast_signed(), b.cast_signed(), a.cast_signed())
}

/// The sixteen words of a block.
#[inline]
#[target_feature(enable = "ssse3")]
fn words(block: &Block) -> [__m128i; 4] {
    // Not by a closure: it would be called by a function that is not told of the instructions, and
    // so could not become a part of it.
    let (quarters, _) = block.as_chunks::<16>();
    [four(&quarters[0]), four(&quarters[1]), four(&quarters[2]), four(&quarters[3])]
}

/// Four words, which are big-endian.
#[inline]
#[target_feature(enable = "ssse3")]
fn four(bytes: &[u8; 16]) -> __m128i {
    let big_endian = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
    // SAFETY: it points to 16 bytes that may be read; they need not be aligned.
    let words = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    _mm_shuffle_epi8(words, big_endian)
}

/// The eight words of a state, in the order in which the instructions take them.
#[derive(Clone, Copy)]
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
}

impl Lane {
    #[inline]
    #[target_feature(enable = "sse4.1,ssse3")]
    fn load(state: &[u32; 8]) -> Self {
        let (halves, _) = state.as_chunks::<4>();
        // SAFETY: each points to 16 bytes that may be read; they need not be aligned.
        let (dcba, hgfe) = unsafe {
            (_mm_loadu_si128(halves[0].as_ptr().cast()), _mm_loadu_si128(halves[1].as_ptr().cast()))
        };
        let (cdab, efgh) = (_mm_shuffle_epi32(dcba, 0xB1), _mm_shuffle_epi32(hgfe, 0x1B));
        Self { abef: _mm_alignr_epi8(cdab, efgh, 8), cdgh: _mm_blend_epi16(efgh, cdab, 0xF0) }
    }

    #[inline]
    #[target_feature(enable = "sse4.1,ssse3")]
    fn store(self, state: &mut [u32; 8]) {
        let (feba, dchg) = (_mm_shuffle_epi32(self.abef, 0x1B), _mm_shuffle_epi32(self.cdgh, 0xB1));
        let (halves, _) = state.as_chunks_mut::<4>();
        let dcba = _mm_blend_epi16(feba, dchg, 0xF0);
        let hgfe = _mm_alignr_epi8(dchg, feba, 8);
        // SAFETY: each points to 16 bytes that may be written; they need not be aligned.
        unsafe {
            _mm_storeu_si128(halves[0].as_mut_ptr().cast(), dcba);
            _mm_storeu_si128(halves[1].as_mut_ptr().cast(), hgfe);
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn add(&mut self, before: Self) {
        self.abef = _mm_add_epi32(self.abef, before.abef);
        self.cdgh = _mm_add_epi32(self.cdgh, before.cdgh);
    }
}

/// FIPS 180-4 §4.2.2.
const KEYS: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

//! Checksums that say where their bytes belong.
//!
//! Every checksum of the store is xxh3-64 with a seed made of the random id of the file (a table's
//! id, a segment's epoch), the offset and the type of the region. So a block that is whole but
//! stale, misplaced or from another file fails like one that is damaged.

use xxhash_rust::xxh3;

/// The seed of a region's checksum.
///
/// `id` is the random id of the file, `offset` where the region begins in it, and `region` its
/// type as the owning format numbers it.
#[must_use]
pub const fn region_seed(id: u64, offset: u64, region: u8) -> u64 {
    // The finaliser of SplitMix64 spreads every bit of the position over the seed, so that no two
    // positions of one file, and no pair of files, cancel out.
    let mut seed = id ^ (offset << 8 | region as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

/// The 64-bit checksum of `bytes` under `seed`.
#[must_use]
pub fn checksum64(seed: u64, bytes: &[u8]) -> u64 {
    xxh3::xxh3_64_with_seed(bytes, seed)
}

/// The low 32 bits of [`checksum64`], where eight bytes would be too many.
#[must_use]
pub fn checksum32(seed: u64, bytes: &[u8]) -> u32 {
    checksum64(seed, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_binds_bytes_to_their_place() {
        let here = checksum64(region_seed(7, 4096, 1), b"block");
        assert_eq!(here, checksum64(region_seed(7, 4096, 1), b"block"));
        assert_ne!(here, checksum64(region_seed(8, 4096, 1), b"block"));
        assert_ne!(here, checksum64(region_seed(7, 8192, 1), b"block"));
        assert_ne!(here, checksum64(region_seed(7, 4096, 2), b"block"));
        assert_ne!(here, checksum64(region_seed(7, 4096, 1), b"blocK"));
    }

    #[test]
    fn the_function_is_frozen() {
        // These values are in every file ever written.
        assert_eq!(region_seed(1, 2, 3), FROZEN_SEED);
        assert_eq!(checksum64(FROZEN_SEED, b"lsm"), FROZEN_SUM);
    }

    const FROZEN_SEED: u64 = 11_767_438_142_974_078_851;
    const FROZEN_SUM: u64 = 8360445959636565229;
}

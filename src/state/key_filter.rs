use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Tells most keys that the state has never heard of from all others, in a byte and a half a key: a Bloom filter
/// in which each key has its bits in one block.
#[derive(Clone, Debug)]
pub struct KeyFilter {
    blocks: Box<[Block]>,
}

type Block = [u32; 8];

/// How many keys share a block. With ten bits for a key one in a hundred strangers is taken for a known one.
const KEYS_A_BLOCK: usize = 24;

/// One odd number for each word of a block.
const SALTS: Block =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// A key as the filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Of a route's key.
    pub fn new(route: &str, key: &str) -> Self {
        Self(xxh3_64_with_seed(key.as_bytes(), xxh3_64(route.as_bytes())))
    }
}

impl KeyFilter {
    /// One that is good for so many keys. More may be added, at the cost of taking more strangers for known.
    pub fn with_room(keys: usize) -> Self {
        Self { blocks: vec![Block::default(); keys / KEYS_A_BLOCK + 1].into() }
    }

    /// From now on this key is known.
    pub fn add(&mut self, key: KeyHash) {
        let Some(block) = self.blocks.get_mut(place(key, self.blocks.len())) else { return };
        block.iter_mut().zip(bits(key)).for_each(|(word, bit)| *word |= bit);
    }

    /// Whether the key may have been added. It was not, if this says no.
    pub fn may_know(&self, key: KeyHash) -> bool {
        let block = self.blocks.get(place(key, self.blocks.len()));
        block.is_none_or(|block| block.iter().zip(bits(key)).all(|(word, bit)| word & bit != 0))
    }
}

fn place(KeyHash(hash): KeyHash, blocks: usize) -> usize {
    // The upper half spread over all blocks.
    ((u128::from(hash) * blocks as u128) >> 64) as usize
}

fn bits(KeyHash(hash): KeyHash) -> Block {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_added_is_known(keys in prop::collection::vec("[a-z0-9]{0,12}", 0..300), room in 0..200_usize) {
            let mut filter = KeyFilter::with_room(room);
            keys.iter().for_each(|key| filter.add(KeyHash::new("loan", key)));
            for key in &keys {
                prop_assert!(filter.may_know(KeyHash::new("loan", key)), "{key}");
            }
        }
    }

    #[test]
    fn nearly_all_strangers_are_told_apart_and_so_are_the_keys_of_other_routes() {
        let mut filter = KeyFilter::with_room(10_000);
        (0..10_000).for_each(|key| filter.add(KeyHash::new("loan", &key.to_string())));
        let taken = |route: &str, keys: std::ops::Range<u32>| {
            keys.filter(|key| filter.may_know(KeyHash::new(route, &key.to_string()))).count()
        };
        let (others, elsewhere) = (taken("loan", 10_000..20_000), taken("order", 0..10_000));
        assert!(others < 300 && elsewhere < 300, "{others} and {elsewhere} of 10,000");
    }
}

//! The latest offset of every key of the dirty part, in a fixed budget of memory.
//!
//! Keys are held as hashes of 16 bytes; 24 bytes a place with the offset. Places are looked for one after the other from where the hash
//! says. The table begins small and doubles, so that a small log costs little; it never grows above its budget, and is full when the part of
//! its places that the load factor allows is taken. Offsets come in growing, so a later one always wins.

use strandline_protocol::ids::Offset;

use super::hash::{Seed, hash};

/// Bytes that a key takes. Source: Kafka's `SkimpyOffsetMap`.
pub const ENTRY_BYTES: usize = 24;

/// Places of a new table: enough for the small logs that most are.
const PLACES_MIN: usize = 1 << 10;

/// An offset that no record has.
const FREE: i64 = -1;

#[derive(Clone, Copy, Debug)]
struct Place {
    hash: [u64; 2],
    offset: i64,
}

const _: () = assert!(size_of::<Place>() == ENTRY_BYTES);

/// The map.
#[derive(Clone, Debug)]
pub struct OffsetMap {
    places: Vec<Place>,
    taken: usize,
    /// Places that the budget allows.
    places_max: usize,
    load_factor: f64,
    seed: Seed,
}

/// A key was not taken: the map is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl OffsetMap {
    /// An empty map that takes `bytes_max` bytes at most, of which `load_factor`, between 0 and 1, is used.
    pub fn new(bytes_max: usize, load_factor: f64, seed: Seed) -> Self {
        let places_max = (bytes_max / ENTRY_BYTES).max(2);
        let mut map = Self { places: Vec::new(), taken: 0, places_max, load_factor, seed };
        map.resize(PLACES_MIN.min(places_max));
        map
    }

    /// Notes that the record at `offset` has `key`.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), Full> {
        let hash = hash(self.seed, key);
        let mut place = self.find(hash);
        if self.places[place].offset == FREE {
            if self.taken >= self.room() {
                if self.places.len() >= self.places_max {
                    return Err(Full);
                }
                self.resize((self.places.len() * 2).min(self.places_max));
                place = self.find(hash);
            }
            self.taken += 1;
        }
        self.places[place] = Place { hash, offset: offset.0 };
        Ok(())
    }

    /// The latest offset of `key`, if it has one.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let offset = self.places[self.find(hash(self.seed, key))].offset;
        (offset != FREE).then_some(Offset(offset))
    }

    /// Keys that the table takes at its size. One place always stays free, or looking for a key would not end.
    fn room(&self) -> usize {
        let places = self.places.len();
        ((places as f64 * self.load_factor) as usize).clamp(1, places - 1)
    }

    fn find(&self, hash: [u64; 2]) -> usize {
        let places = self.places.len();
        let mut place = (hash[0] % places as u64) as usize;
        while self.places[place].offset != FREE && self.places[place].hash != hash {
            place = (place + 1) % places;
        }
        place
    }

    fn resize(&mut self, places: usize) {
        let before = std::mem::replace(&mut self.places, vec![Place { hash: [0; 2], offset: FREE }; places]);
        for taken in before.into_iter().filter(|place| place.offset != FREE) {
            let place = self.find(taken.hash);
            self.places[place] = taken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed([1, 2]);

    #[test]
    fn the_latest_offset_of_every_key_is_found_while_the_table_grows() {
        let mut map = OffsetMap::new(10_000 * ENTRY_BYTES, 0.9, SEED);
        for offset in 0..9_000_i64 {
            map.put(&(offset % 4_500).to_be_bytes(), Offset(offset)).expect("there is room");
        }
        assert!((0..4_500_i64).all(|key| map.get(&key.to_be_bytes()) == Some(Offset(key + 4_500))));
        assert_eq!(map.get(b"none"), None);
    }

    #[test]
    fn a_full_map_still_takes_the_keys_that_it_knows() {
        let mut map = OffsetMap::new(100 * ENTRY_BYTES, 0.9, SEED);
        let taken = (0..200_i64).take_while(|key| map.put(&key.to_be_bytes(), Offset(*key)).is_ok()).count();
        assert_eq!(taken, 90);
        assert_eq!(map.put(&5_i64.to_be_bytes(), Offset(900)), Ok(()));
        assert_eq!(map.get(&5_i64.to_be_bytes()), Some(Offset(900)));
    }
}

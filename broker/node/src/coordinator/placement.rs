//! Which partition of an internal topic coordinates a key: Kafka's function, which tools compute too.

/// The partition of a group or transactional id among `partitions`, which is not 0.
///
/// Source: `Utils.abs(key.hashCode) % partitions`, where the absolute value of the smallest number is 0.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    let hash = java_hash(key);
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions
}

/// `String.hashCode`: over UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("abc"), 96_354);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("\u{1f600}"), 1_772_899);
    }

    #[test]
    fn the_smallest_hash_falls_on_partition_0() {
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("abc", 50), 4);
    }
}

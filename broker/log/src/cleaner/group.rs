//! Which segments are written into one.
//!
//! Compaction makes segments smaller, so neighbours whose files together stay within the limits of one become one.
//!
//! Source: Kafka's `Cleaner.groupSegmentsBySize`.

use strandline_protocol::ids::Offset;

/// What a segment takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) base: Offset,
    /// Where the segment behind it begins.
    pub(crate) next: Offset,
    pub(crate) log_bytes: u64,
    pub(crate) offset_index_bytes: u64,
    pub(crate) time_index_bytes: u64,
}

/// What a segment may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) log_bytes: u64,
    pub(crate) index_bytes: u64,
}

/// How many neighbours become one, from the first on; each at least one.
pub(crate) fn group(segments: &[Size], limits: Limits) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let mut sum = *first;
        let count = 1 + rest[1..].iter().take_while(|segment| joins(&mut sum, segment, limits)).count();
        groups.push(count);
        rest = &rest[count..];
    }
    groups
}

fn joins(sum: &mut Size, segment: &Size, limits: Limits) -> bool {
    let with = Size {
        base: sum.base,
        next: segment.next,
        log_bytes: sum.log_bytes + segment.log_bytes,
        offset_index_bytes: sum.offset_index_bytes + segment.offset_index_bytes,
        time_index_bytes: sum.time_index_bytes + segment.time_index_bytes,
    };
    // Indexes count offsets from the base in 31 bits.
    let in_reach = segment.log_bytes == 0 || i32::try_from(with.next.distance_from(with.base) - 1).is_ok();
    let fits = with.log_bytes <= limits.log_bytes
        && with.offset_index_bytes <= limits.index_bytes
        && with.time_index_bytes <= limits.index_bytes;
    if fits && in_reach {
        *sum = with;
    }
    fits && in_reach
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(base: i64, next: i64, log_bytes: u64) -> Size {
        let index_bytes = log_bytes / 10;
        Size {
            base: Offset(base),
            next: Offset(next),
            log_bytes,
            offset_index_bytes: index_bytes,
            time_index_bytes: index_bytes,
        }
    }

    const LIMITS: Limits = Limits { log_bytes: 100, index_bytes: 100 };

    #[test]
    fn neighbours_join_while_they_fit_into_one() {
        let segments = [size(0, 10, 40), size(10, 20, 60), size(20, 30, 1), size(30, 40, 200), size(40, 50, 5)];
        assert_eq!(group(&segments, LIMITS), [2, 1, 1, 1]);
        assert_eq!(group(&segments, Limits { index_bytes: 5, ..LIMITS }), [1, 1, 1, 1, 1]);
        assert_eq!(group(&[], LIMITS), [0; 0]);
    }

    #[test]
    fn a_segment_out_of_reach_of_the_first_ones_offsets_stays_alone() {
        let far = i64::from(i32::MAX);
        assert_eq!(group(&[size(0, far, 1), size(far, far + 1, 1)], LIMITS), [2]);
        assert_eq!(group(&[size(0, far, 1), size(far, far + 2, 1)], LIMITS), [1, 1]);
    }
}

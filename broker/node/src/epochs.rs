//! Leader epochs as requests name them: fencing, and where an epoch ended. Source: Partition.scala, KIP-101, KIP-320.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::messages::fetch::EpochEndOffset;

use crate::flaws::{self, Flaw};
use crate::replica::Replica;
use crate::sessions::Wanted;

/// Compares the leader epoch that a request believes in; `NONE` is no belief.
///
/// # Errors
/// FENCED_LEADER_EPOCH for an older one, UNKNOWN_LEADER_EPOCH for a newer one.
pub(crate) fn check_leader_epoch(current: LeaderEpoch, believed: LeaderEpoch) -> Result<(), ErrorCode> {
    if believed == LeaderEpoch::NONE || believed == current {
        Ok(())
    } else if believed < current {
        Err(ErrorCode::FENCED_LEADER_EPOCH)
    } else {
        Err(ErrorCode::UNKNOWN_LEADER_EPOCH)
    }
}

/// The largest epoch not above `asked` and the offset at which it ended; both `NONE` if that is not known.
pub(crate) fn end_offset_for(replica: &Replica, asked: LeaderEpoch) -> (LeaderEpoch, Offset) {
    if asked == replica.leader_epoch() {
        return (asked, replica.log.positions().log_end);
    }
    let end = replica.log.epochs().end_offset_for(asked, replica.log.positions().log_end);
    end.map_or((LeaderEpoch::NONE, Offset::NONE), |end| (end.epoch, end.end))
}

/// Whether the reader's last epoch ended earlier here than it believes (KIP-320, Fetch v12).
pub(crate) fn diverging(replica: &Replica, wanted: &Wanted) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if wanted.last_fetched_epoch == LeaderEpoch::NONE || flaws::is(Flaw::DivergenceIgnored) {
        return Ok(None);
    }
    let (epoch, end) = end_offset_for(replica, wanted.last_fetched_epoch);
    if epoch == LeaderEpoch::NONE || end == Offset::NONE {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let diverges = epoch < wanted.last_fetched_epoch || end < wanted.fetch_offset;
    Ok(diverges.then_some(EpochEndOffset { epoch, end_offset: end }))
}

//! The checker that tests feed by hand.

use gauntlet_verify::{Shard, ShardConfig};

/// A fresh checker of a partition of topic `t`, which the run created and writes to with idempotence; `gapless`: every offset of its log
/// will be told.
pub(crate) fn shard(run: u32, partition: u32, gapless: bool) -> Shard {
    Shard::new(ShardConfig {
        run,
        topic: "t".to_owned(),
        partition,
        other_topics: Vec::new(),
        created_by_run: true,
        in_order: true,
        gapless,
        compacted: false,
        start_offset: 0,
        witness_limit: 2,
        fragment_limit: 1 << 20,
    })
}

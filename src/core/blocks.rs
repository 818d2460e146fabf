//! Knows lines that stand in several outboxes at once.
//! Never: in whose, or what becomes of them.

use slotmap::SlotMap;

use crate::core::SessionKey;
use crate::core::tuning::Tuning;
use crate::wire::envelope::Outgoing;

slotmap::new_key_type! {
    /// One block of lines.
    pub(crate) struct BlockKey;
}

/// Records of blocks that are kept for the next ones when all blocks are gone.
const RECORDS_KEPT_MAX: usize = 4096;

/// Lines one behind the other, each put together once. Each outbox that holds a block gets all of it: the lines
/// in one are for the same receivers, however many of them come.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Blocks {
    blocks: SlotMap<BlockKey, Block>,
    /// Whom the last lines for several were for.
    #[cfg_attr(feature = "daemon", serde(skip))]
    receivers: Vec<SessionKey>,
    /// The bytes of those lines.
    #[cfg_attr(feature = "daemon", serde(skip))]
    in_a_row: usize,
    /// The blocks that grow: of lines without and with the member `sender`.
    #[cfg_attr(feature = "daemon", serde(skip))]
    open: [BlockKey; 2],
    #[cfg_attr(feature = "daemon", serde(skip))]
    bytes: usize,
    #[cfg_attr(feature = "daemon", serde(skip))]
    tuning: Tuning,
}

#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Block {
    #[cfg_attr(feature = "daemon", serde(skip))]
    bytes: Vec<u8>,
    /// Runs in outboxes that are made of it.
    holders: usize,
}

/// Where a line stands, with its LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) block: BlockKey,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Blocks {
    pub(crate) fn new(tuning: Tuning) -> Blocks {
        Blocks { tuning, ..Blocks::default() }
    }

    /// Sets thresholds anew, which are not carried to another process.
    #[cfg(feature = "daemon")]
    pub(crate) fn tune(&mut self, tuning: &Tuning) {
        self.tuning = tuning.clone();
    }

    /// Begins a line of `len` bytes for `receivers`, and says whether it should stand in a block.
    pub(crate) fn begin_line(&mut self, receivers: &[SessionKey], len: usize) -> bool {
        if self.receivers != receivers {
            self.receivers.clear();
            self.receivers.extend_from_slice(receivers);
            self.in_a_row = 0;
            self.open = Default::default();
        }
        self.in_a_row += len;
        self.in_a_row >= self.tuning.shared_bytes_min
    }

    /// Puts a line together. A run that is to be made of it holds the block.
    pub(crate) fn append(&mut self, line: &Outgoing<'_>, with_sender: bool) -> Place {
        let most = self.tuning.block_bytes;
        let open = &mut self.open[usize::from(with_sender)];
        let has_room = |block: &Block| block.bytes.len() + line.len() <= most;
        if !self.blocks.get(*open).is_some_and(has_room) {
            *open = self.blocks.insert(Block::default());
            self.bytes += size_of::<Block>();
        }
        let block = &mut self.blocks[*open];
        let (start, before) = (block.bytes.len(), block.bytes.capacity());
        if start + line.len() > before {
            // To twice its size, but not beyond the most that it will have.
            block.bytes.reserve_exact(line.len().max(start.min(most - start)));
        }
        line.write_to(&mut block.bytes);
        self.bytes += block.bytes.capacity() - before;
        Place { block: *open, start, len: block.bytes.len() - start }
    }

    /// One more run is made of a block.
    pub(crate) fn hold(&mut self, block: BlockKey) {
        self.blocks[block].holders += 1;
    }

    /// A run of it is gone: with the last one it is freed.
    pub(crate) fn release(&mut self, key: BlockKey) {
        let block = &mut self.blocks[key];
        block.holders -= 1;
        if block.holders == 0 {
            self.bytes -= size_of::<Block>() + block.bytes.capacity();
            self.blocks.remove(key);
            // The map never shrinks.
            if self.blocks.is_empty() && self.blocks.capacity() > RECORDS_KEPT_MAX {
                (self.blocks, self.open) = Default::default();
            }
        }
    }

    /// What stands in a block that is held.
    pub(crate) fn bytes_of(&self, block: BlockKey) -> &[u8] {
        &self.blocks[block].bytes
    }

    /// The memory of all blocks.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes
    }

    /// The runs that are made of each block.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (BlockKey, usize)> {
        self.blocks.iter().map(|(key, block)| (key, block.holders))
    }

    /// Takes the bytes out of each block; what is there then is of no use but to be saved.
    #[cfg(feature = "daemon")]
    pub(crate) fn take_bytes(&mut self) -> impl Iterator<Item = (BlockKey, Vec<u8>)> {
        self.blocks.iter_mut().map(|(key, block)| (key, std::mem::take(&mut block.bytes)))
    }

    /// Puts the bytes of a block that has been carried from another process back into it.
    #[cfg(feature = "daemon")]
    pub(crate) fn put_bytes(&mut self, key: BlockKey, bytes: Vec<u8>) {
        if let Some(block) = self.blocks.get_mut(key) {
            self.bytes += size_of::<Block>() + bytes.capacity();
            block.bytes = bytes;
        }
    }

    /// Panics if the sum of the blocks' memory is not what it is said to be.
    pub(crate) fn check(&self) {
        let bytes: usize =
            self.blocks.values().map(|block| size_of::<Block>() + block.bytes.capacity()).sum();
        assert_eq!(bytes, self.bytes, "what blocks keep");
    }
}

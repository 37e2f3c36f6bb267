//! Writes: what is checked and paid before a batch queues.

use std::time::Instant;

use lsm_base::{Kind, Seq, WriteBatch};

use crate::error::{Error, Result};
use crate::event::Event;
use crate::inner::Inner;
use crate::options::WriteOptions;

impl Inner {
    /// Writes all operations of a batch, or none. Returns the sequence of the last.
    pub(crate) fn write(&self, batch: WriteBatch, options: &WriteOptions) -> Result<Seq> {
        batch.check()?;
        self.begin_change()?;
        if options.condition.is_some() && batch.count() != 1 {
            return Err(Error::invalid("a condition needs a batch of exactly one operation"));
        }
        if batch.is_empty() {
            return Ok(self.visible());
        }
        let deadline = options.stall_timeout.map(|timeout| Instant::now() + timeout);
        let bytes = batch.as_bytes().len() as u64;
        self.pay(bytes, deadline)?;
        let (puts, deletes) = count_kinds(&batch);
        let durability = options.durability.unwrap_or(self.options.durability);
        let seq = self.commit().write(self, batch, durability, options, deadline)?;
        self.metrics.puts.add(puts);
        self.metrics.deletes.add(deletes);
        self.metrics.write_bytes.add(bytes);
        Ok(seq)
    }

    /// Waits for as long as the pressure of background work asks of a write of this size.
    fn pay(&self, bytes: u64, deadline: Option<Instant>) -> Result<()> {
        if self.options.background_threads == 0 {
            // Nobody works meanwhile, so waiting would bring nothing.
            return Ok(());
        }
        let took = self.admission.admit(bytes, deadline).map_err(|_| Error::busy())?;
        if !took.is_zero() {
            self.metrics.stall_nanos.record(took.as_nanos() as u64);
            self.emit(&Event::Stalled { took });
        }
        Ok(())
    }
}

fn count_kinds(batch: &WriteBatch) -> (u64, u64) {
    if batch.count() == 1 {
        let is_put = matches!(batch.ops().next(), Some(Ok(op)) if op.kind == Kind::Put);
        return if is_put { (1, 0) } else { (0, 1) };
    }
    let puts = batch.ops().filter(|op| matches!(op, Ok(op) if op.kind == Kind::Put)).count() as u64;
    (puts, u64::from(batch.count()) - puts)
}

//! Does an application on this store keep its promises when the power fails and the disk is full?
//!
//! The application is a small bank. Its promises: a transfer that was confirmed survives, a transfer
//! happens whole or not at all, and so the money in all accounts together stays what it was.
//! Nothing in it knows of this experiment: it takes a `Db`, and the experiment opens that one on a
//! disk in memory.
//!
//! 1. *Power loss*: after each change of the disk the power fails, in many ways: writes are torn at
//!    any sector, unsynced names come and go. The bank is opened on what is left and audited.
//! 2. *Lost syncs*: the disk says "synced" and is not. Then no store can keep its word; the
//!    experiment shows that the audit would notice.
//! 3. *A full disk*: transfers are refused until there is space again, and none is half done.
//! 4. *A careless bank* writes the two sides of a transfer apart. The audit finds it out.
//!
//! ```text
//! cargo run -p lsm-engine --features testing --example torn_writes
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lsm_engine::base::fs::{Fault, FaultFs, Keep, MemFs};
use lsm_engine::{Db, ErrorKind, Options, Read, Result, WriteBatch, WriteOptions};

const ACCOUNTS: u64 = 8;
const DEPOSIT: u64 = 100;
const TRANSFERS: u64 = 60;
const IMAGES_PER_CHANGE: u64 = 8;

fn main() -> Result<()> {
    let careful = power_loss(Bank::transfer, None)?;
    println!("power loss: {} images, {:?}", careful.images, careful.broken);
    assert!(1_000 < careful.images && careful.broken.is_none());

    let lying = power_loss(Bank::transfer, Some(Fault::LostSync))?;
    println!("a disk that lies about its syncs: {:?}", lying.broken);
    assert!(lying.broken.is_some(), "an audit that notices nothing");

    let careless = power_loss(Bank::transfer_carelessly, None)?;
    println!("a careless bank: {:?}", careless.broken);
    assert!(careless.broken.is_some(), "an audit that notices nothing");

    full_disk()
}

/// The application: accounts with money, and how many transfers there were.
struct Bank {
    db: Db,
}

impl Bank {
    /// Opens the accounts, and puts money into them the first time.
    fn open(db: Db) -> Result<Bank> {
        if !db.contains("transfers")? {
            let mut batch = WriteBatch::new();
            (0..ACCOUNTS).for_each(|account| batch.put(name(account), DEPOSIT.to_be_bytes()));
            batch.put("transfers", 0_u64.to_be_bytes());
            db.write(batch, &WriteOptions::default())?;
        }
        Ok(Bank { db })
    }

    /// Moves money, if there is enough, in one batch. `Ok` is the confirmation.
    fn transfer(&self, from: u64, to: u64, amount: u64) -> Result<()> {
        let (left, count) = (self.number(&name(from))?, self.number("transfers")?);
        let moved = amount.min(left);
        let mut batch = WriteBatch::new();
        batch.put(name(from), (left - moved).to_be_bytes());
        batch.put(name(to), (self.number(&name(to))? + moved).to_be_bytes());
        batch.put("transfers", (count + 1).to_be_bytes());
        self.db.write(batch, &WriteOptions::default()).map(|_| ())
    }

    /// The same with a write for each side.
    fn transfer_carelessly(&self, from: u64, to: u64, amount: u64) -> Result<()> {
        let (left, count) = (self.number(&name(from))?, self.number("transfers")?);
        let moved = amount.min(left);
        self.db.put(name(from), (left - moved).to_be_bytes())?;
        self.db.put(name(to), (self.number(&name(to))? + moved).to_be_bytes())?;
        self.db.put("transfers", (count + 1).to_be_bytes()).map(|_| ())
    }

    fn number(&self, key: &str) -> Result<u64> {
        let value = self.db.get(key)?.expect("the bank was opened");
        Ok(u64::from_be_bytes((*value).try_into().expect("a number has eight bytes")))
    }

    /// What is wrong with the books of a bank that has confirmed so many transfers.
    fn audit(&self, confirmed: u64) -> Result<Option<String>> {
        let transfers = self.number("transfers")?;
        if transfers < confirmed {
            return Ok(Some(format!("{transfers} transfers, and {confirmed} were confirmed")));
        }
        let mut money = 0;
        for account in 0..ACCOUNTS {
            money += self.number(&name(account))?;
        }
        let is_right = money == ACCOUNTS * DEPOSIT;
        Ok((!is_right).then(|| format!("{money} in all accounts together")))
    }
}

fn name(account: u64) -> String {
    format!("account-{account}")
}

/// How the bank moves money.
type Transfer = fn(&Bank, u64, u64, u64) -> Result<()>;

/// Opens the store on a disk; small, and without threads, so that a run can be repeated exactly.
fn open(fs: &FaultFs) -> Result<Db> {
    let options = Options {
        memory_budget: Some(1 << 20),
        memtable_size: Some(16 << 10),
        table_size: 16 << 10,
        background_threads: 0,
        ..Options::default()
    };
    Db::builder("bank").options(options).fs(Arc::new(fs.clone())).open()
}

struct Report {
    images: u64,
    /// The first promise that was broken, and when.
    broken: Option<String>,
}

/// Lets the bank work, and audits what a power loss leaves after each change of the disk. A fault
/// befalls every operation that it applies to, once the bank is open.
fn power_loss(transfer: Transfer, fault: Option<Fault>) -> Result<Report> {
    let disk = MemFs::new();
    let fs = FaultFs::new(Arc::new(disk.clone()));
    let bank = Bank::open(open(&fs)?)?;
    fs.set_plan(move |_| fault);

    let confirmed = Arc::new(AtomicU64::new(0));
    let report = Arc::new(Mutex::new(Report { images: 0, broken: None }));
    let (seen, found, power) = (Arc::clone(&confirmed), Arc::clone(&report), disk.clone());
    fs.after_each(move |op| {
        let mut report = found.lock().expect("no audit panics");
        let changes = op.kind.is_change() || op.kind.is_sync();
        if !changes || report.broken.is_some() {
            return;
        }
        for seed in 0..IMAGES_PER_CHANGE {
            let image = power.crash(Keep::Subset { seed: op.index * IMAGES_PER_CHANGE + seed });
            report.images += 1;
            report.broken = match audit(&image, seen.load(Ordering::Relaxed)) {
                Ok(wrong) => wrong.map(|wrong| format!("after `{op}`: {wrong}")),
                Err(error) => Some(format!("after `{op}`: {error}")),
            };
            if report.broken.is_some() {
                return;
            }
        }
    });
    for i in 0..TRANSFERS {
        transfer(&bank, i % ACCOUNTS, (i * 5 + 1) % ACCOUNTS, 7)?;
        confirmed.store(i + 1, Ordering::Relaxed);
        if i == TRANSFERS / 2 {
            // Tables and a new log segment, so that the power fails there too.
            bank.db.flush()?;
        }
    }
    fs.clear_hooks();
    let mut report = report.lock().expect("no audit panics");
    Ok(Report { images: report.images, broken: report.broken.take() })
}

/// Opens the bank on what the power loss left, and audits it.
fn audit(image: &MemFs, confirmed: u64) -> Result<Option<String>> {
    let fs = FaultFs::new(Arc::new(image.clone()));
    Bank { db: open(&fs)? }.audit(confirmed)
}

/// Fills the disk, and gives it space again.
fn full_disk() -> Result<()> {
    let disk = MemFs::new();
    let fs = FaultFs::new(Arc::new(disk.clone()));
    let bank = Bank::open(open(&fs)?)?;
    disk.set_capacity(0);
    let mut confirmed = 0;
    let refused = loop {
        match bank.transfer(confirmed % ACCOUNTS, (confirmed + 1) % ACCOUNTS, 7) {
            Ok(()) => confirmed += 1,
            Err(error) => break error,
        }
    };
    println!("a full disk: {confirmed} transfers, then: {refused}");
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    assert_eq!(bank.audit(confirmed)?, None, "reads go on");
    assert_eq!(
        audit(&disk.crash(Keep::SyncedOnly), confirmed).map_err(|e| e.kind()),
        Err(ErrorKind::NoSpace)
    );

    disk.set_capacity(1 << 30);
    bank.transfer(1, 2, 7)?;
    assert_eq!(audit(&disk.crash(Keep::SyncedOnly), confirmed + 1)?, None);
    println!("and with space again it goes on");
    Ok(())
}

//! The log as its users see it: through a file system that crashes, fails and rots.

mod bench;
mod crash;
mod damage;
mod faults;
mod full_disk;
mod golden;
mod history;
mod inspect;
mod medium;
mod space;
mod support;
mod sync;
mod write_back;

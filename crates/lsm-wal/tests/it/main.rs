//! The log as its users see it: through a file system that crashes, fails and rots.

mod crash;
mod damage;
mod faults;
mod golden;
mod history;
mod inspect;
mod space;
mod support;
mod write_back;

//! Integration tests of tables, through the public interface alone.

mod damage;
mod faults;
mod format;
mod golden;
mod model;
mod runs;
mod support;

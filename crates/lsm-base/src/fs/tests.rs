//! What every file system promises, held against all of them; and what only one has to keep.

use super::*;

mod conformance;
mod loops;
mod std_fs;

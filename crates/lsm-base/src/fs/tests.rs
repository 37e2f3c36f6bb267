//! What every file system promises, held against all of them.

use super::*;

mod conformance;

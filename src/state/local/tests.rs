use tempfile::TempDir;

use super::*;
use crate::state::contract::{Place, contract};

impl Place for TempDir {
    fn open(&self) -> Box<dyn State> {
        Box::new(LocalState::open(&self.path().join("state")).unwrap())
    }
}

contract!(tempfile::tempdir().unwrap());

//! The two xenstore daemons, and where they answer differently. The differences are data: the simulator obeys this table and
//! the suite expects what it says.

/// Which daemon runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreFlavour {
    /// `xenstored`, written in C: compares the generation of every node that a transaction touched.
    #[default]
    C,
    /// `oxenstored`: replays a transaction on the present tree and compares the answers.
    Ocaml,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlavourRules {
    /// Two transactions that write the same node and read nothing: does the second one to commit lose?
    pub blind_writes_conflict: bool,
    /// Two transactions that each make another child of one node: does the second one to commit lose?
    pub sibling_creation_conflicts: bool,
    /// A node was read in a transaction and written meanwhile with the very same value: does the transaction lose?
    pub rewrite_of_same_value_conflicts: bool,
    /// May a node's name hold a colon? Not in Xen 4.17, with either.
    pub colon_in_names: bool,
    /// The largest value that dom0 may write, when that is less than a message holds; above it: `TooLarge`.
    pub dom0_value_bytes_max: Option<usize>,
    /// A domain that suspended and goes on ends without `@releaseDomain`, unless the daemon was told that it goes on?
    pub resume_needed_for_news: bool,
    /// Nodes of a dead guest go with it. Are watches told? If not, dom0's backends do not notice, and the domain stays dying
    /// while they map its rings.
    pub watches_told_of_dead_guests_nodes: bool,
    /// Nodes that a guest may own.
    pub guest_nodes_max: usize,
}

impl StoreFlavour {
    /// Both.
    pub const ALL: [StoreFlavour; 2] = [StoreFlavour::C, StoreFlavour::Ocaml];

    /// How this daemon answers.
    #[must_use]
    pub const fn rules(self) -> FlavourRules {
        match self {
            StoreFlavour::C => FlavourRules {
                blind_writes_conflict: true,
                sibling_creation_conflicts: true,
                rewrite_of_same_value_conflicts: true,
                colon_in_names: false,
                dom0_value_bytes_max: None,
                resume_needed_for_news: true,
                watches_told_of_dead_guests_nodes: true,
                guest_nodes_max: 1000,
            },
            StoreFlavour::Ocaml => FlavourRules {
                blind_writes_conflict: false,
                sibling_creation_conflicts: false,
                rewrite_of_same_value_conflicts: false,
                colon_in_names: false,
                dom0_value_bytes_max: Some(2048),
                resume_needed_for_news: false,
                watches_told_of_dead_guests_nodes: false,
                guest_nodes_max: 1000,
            },
        }
    }
}

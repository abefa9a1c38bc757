//! Steepest descent over single moves, for any measure of how good an assignment is.

/// An assignment of VMs to hosts that can be changed by one move at a time.
pub trait Landscape {
    /// VMs that are worth a look now.
    fn candidates(&self) -> Vec<usize>;

    /// How many hosts there are.
    fn host_count(&self) -> usize;

    /// Where a VM is.
    fn host_of(&self, vm: usize) -> usize;

    /// What is gained if `vm` goes to `to`; `None` when it may not.
    fn gain(&self, vm: usize, to: usize) -> Option<f64>;

    /// Moves it.
    fn carry_out(&mut self, vm: usize, to: usize);
}

/// A move that was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Improvement {
    /// Who.
    pub vm: usize,
    /// From where.
    pub from: usize,
    /// Where to.
    pub to: usize,
    /// What was gained.
    pub gain: f64,
}

/// Makes the best move, again and again, until none gains more than `gain_min` or `moves_max` are made.
pub fn descend(
    landscape: &mut impl Landscape,
    moves_max: usize,
    gain_min: f64,
) -> Vec<Improvement> {
    let mut made = Vec::new();
    while made.len() < moves_max {
        let Some(best) = steepest(landscape).filter(|best| best.gain > gain_min) else { break };
        landscape.carry_out(best.vm, best.to);
        made.push(best);
    }
    made
}

/// The first of the moves that gain most.
fn steepest(landscape: &impl Landscape) -> Option<Improvement> {
    let mut best: Option<Improvement> = None;
    for vm in landscape.candidates() {
        let from = landscape.host_of(vm);
        for to in (0..landscape.host_count()).filter(|to| *to != from) {
            let Some(gain) = landscape.gain(vm, to) else { continue };
            if best.is_none_or(|best| gain > best.gain) {
                best = Some(Improvement { vm, from, to, gain });
            }
        }
    }
    best
}

//! Small models, walked through every schedule: nothing is left to chance here.

mod choices;
mod drive;
mod lane;
mod model;
mod schedules;
mod window;

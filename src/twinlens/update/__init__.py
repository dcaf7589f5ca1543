"""What moves besides the gradient: slow copies, schedules, optimizers."""

"""What the ranks of each program do. Only ranks load these modules."""

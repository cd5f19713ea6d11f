"""What is true of closing positions anywhere. Standard library only."""

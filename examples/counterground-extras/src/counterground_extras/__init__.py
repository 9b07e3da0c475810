"""What CounterGround can be given from outside, one file for each kind."""

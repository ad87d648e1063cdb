"""The Trainer: the stacked LSTM, its training, and the model that it exports."""

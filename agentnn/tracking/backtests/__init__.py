"""Backtest results of any shape: read, measured, drawn and logged."""

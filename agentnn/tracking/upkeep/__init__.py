"""Looking after what was written: what waits, delivering it now, and the doctor."""

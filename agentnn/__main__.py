"""``python -m agentnn``"""

from agentnn.cli.process import main

main()

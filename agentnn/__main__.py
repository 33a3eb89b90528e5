"""``python -m agentnn``"""

from agentnn.cli.app import main

main()

"""SemanticREPA: fine-tune image-to-video diffusion transformers on people with frozen semantic aligners.

Importing the package loads nothing heavy: parts are imported by their own name, for example
`from semrepa.config import preset`.
"""

__version__ = "0.1.0"

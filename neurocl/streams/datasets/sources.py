"""Where datasets lie on disk, where they are published, and their checksums. One table; edit here only.

Checksums of downloads are the publisher's MD5 or the SHA-256 of a copy at a pinned commit; checksums of contents are
SHA-256 over the unpacked file, so that it does not matter how a file was packed. Where several folders are named, the
first one that holds the file is used, below ``NEUROCL_DATA`` or the user's cache folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Source:
    """One dataset's files.

    Attributes:
        title: What messages call the dataset.
        folders: Where its files may lie, the first being the place for new ones.
        address: What the name of a file is appended to, ``""`` where nothing can be downloaded.
        hashes: Name and checksum of what is downloaded.
        archive: Whether the one download is a tar archive that holds the files.
        contents: SHA-256 of a file's unpacked content, by the file's name without ``.gz`` or ``.xz``.
        origin: The publication, for people.
    """

    title: str
    folders: tuple[str, ...]
    address: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    archive: bool = False
    contents: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""


MNIST = Source(
    title="MNIST",
    folders=("mnist/MNIST/raw", "MNIST/raw", "mnist"),
    address="https://ossci-datasets.s3.amazonaws.com/mnist/",
    hashes={
        "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    contents={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    origin="Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits",
)

FASHION_MNIST = Source(
    title="Fashion-MNIST",
    folders=("fashion_mnist/FashionMNIST/raw", "FashionMNIST/raw", "fashion_mnist"),
    address=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
        "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/"
    ),
    hashes={
        "train-images-idx3-ubyte.gz": "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    contents={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    origin="H. Xiao, K. Rasul, R. Vollgraf 2017, arXiv:1708.07747",
)

NOTMNIST = Source(
    title="notMNIST",
    folders=("notmnist",),
    address=(
        "https://raw.githubusercontent.com/davidflanagan/notMNIST-to-MNIST/17823f4d4a3acd8317c07866702d2eb2ac79c7a0/"
    ),
    hashes={
        "t10k-images-idx3-ubyte.gz": "sha256:70ae9e06201f2827e5b0a3781a3169d735dd2efc69996b9eeaee7f10ed4044d7",
        "t10k-labels-idx1-ubyte.gz": "sha256:1fa03836e01c862542f8eb83463bb951bebec6fcb3efa28dad748c6b38a9021b",
    },
    contents={
        "t10k-images-idx3-ubyte": "8e7f38ae95cc8f48e0986175ffc9137e5007ebcf3d8fdf6656c904eb9dab198b",
        "t10k-labels-idx1-ubyte": "5f8e6012f2ce730700d8d05fca098bc47f71d25b890e4bec7ac5ebfd614a4001",
    },
    origin="Y. Bulatov 2011, notMNIST; repackaged by D. Flanagan",
)

KANNADA = Source(
    title="Kannada-MNIST",
    folders=("kannada_mnist",),
    address=(
        "https://raw.githubusercontent.com/vinayprabhu/Kannada_MNIST/"
        "f8390ece0c6990551e6f35189ccc42757bb29c43/data/output_tensors/MNIST_format/"
    ),
    hashes={
        "X_kannada_MNIST_test-idx3-ubyte.gz": "sha256:4628f3fa7b1d32137449dd356be4601da0c28c420b79f1b745a5134504ca35ca",
        "y_kannada_MNIST_test-idx1-ubyte.gz": "sha256:645db5902d290681c9e5b452428e24636963a50a3036c2201240351b88786272",
        "X_dig_MNIST-idx3-ubyte.gz": "sha256:abda37c59d3d65ef89505860c18e7b7f7e80bfb2ba361ec1df68949e0c630aaa",
        "y_dig_MNIST-idx1-ubyte.gz": "sha256:321fa413dc0f4bc4342da1f3418c656cd346f91d6d479ea67b1a107e920b907b",
    },
    contents={
        "X_kannada_MNIST_test-idx3-ubyte": "be3a7f7fd24b3eb62f28ab1e3f9e5a380738e87000f99417c14f94ca89616cf4",
        "y_kannada_MNIST_test-idx1-ubyte": "2a4fb3eec0877aa3d4ab80d8f59374733af9b2b2966e8be0e50efe715f443a4d",
        "X_dig_MNIST-idx3-ubyte": "80f10e9328072991d61cc2db57a8793ae4ffcf030aa8b73a37dd64787da464ae",
        "y_dig_MNIST-idx1-ubyte": "270a721d62dee2a1e9459e0192e425c086de49f1f9610fb3d7b9f457e3dd83fe",
    },
    origin="V. U. Prabhu 2019, arXiv:1908.01242",
)

USPS = Source(
    title="USPS",
    folders=("usps",),
    address=(
        "https://raw.githubusercontent.com/dgkim5360/the-elements-of-statistical-learning-notebooks/"
        "2c13a4818379451bcce802bcd7917f4878e12977/data/zipcode/"
    ),
    hashes={
        "zip.train.gz": "sha256:66ebf231ab51f2cf6ac1a892d0f98ccffee1079d7a5db638c1f11f366046ca16",
        "zip.test.gz": "sha256:8dacc3c6e136af6c3488de9e5113a7daf140c8c2f1f0b61c54ee02f03f1a962f",
    },
    origin="Y. LeCun et al. 1989; T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning",
)

CIFAR10 = Source(
    title="CIFAR-10",
    folders=("cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar10"),
    address="https://www.cs.toronto.edu/~kriz/",
    hashes={"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
    archive=True,
    origin="A. Krizhevsky 2009, Learning multiple layers of features from tiny images",
)

CIFAR100 = Source(
    title="CIFAR-100",
    folders=("cifar100/cifar-100-binary", "cifar-100-binary", "cifar100"),
    address="https://www.cs.toronto.edu/~kriz/",
    hashes={"cifar-100-binary.tar.gz": "md5:03b5dce01913d631647c71ecec9e9cb8"},
    archive=True,
    origin="A. Krizhevsky 2009, Learning multiple layers of features from tiny images",
)

SVHN = Source(
    title="SVHN",
    folders=("svhn",),
    address="http://ufldl.stanford.edu/housenumbers/",  # the publisher offers no https; the checksum guards the content
    hashes={
        "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
    },
    origin="Y. Netzer et al. 2011, Reading digits in natural images with unsupervised feature learning",
)
